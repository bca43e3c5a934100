// Row by row operations between the matrix products, over all threads, and the tables of RoPE.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/format_list.h"

namespace phigguf {

void rms_norm(const float* x, const float* weight, size_t rows, size_t cols, float epsilon, float* out);

void layer_norm(const float* x, const float* weight, const float* bias, size_t rows, size_t cols, float epsilon,
                float* out);

void gelu(const float* x, size_t rows, size_t cols, float* out);
void softmax(const float* x, size_t rows, size_t cols, float* out);

// gate_up[rows][2 * cols] holds the gate first.
void silu_mul(const float* gate_up, size_t rows, size_t cols, float* out);

// cos and sin of the float32 angles position * frequency, times `factor`, into tables [rows][half].
struct RopeTableTask {
  size_t start;  // position of the first row
  size_t rows;
  const float* frequencies;
  size_t half;
  float factor;
  float* cosines;
  float* sines;
};
void fill_rope_tables(const RopeTableTask& task);

// Rows `ids` of a weight as floats.
void read_rows(const uint8_t* weights, Type type, size_t cols, const int32_t* ids, size_t n, float* out);

}  // namespace phigguf
