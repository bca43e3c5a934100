// What every ISA offers: one table of function pointers, filled by variant.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/format_list.h"
#include "kernels/compute_jobs.h"

namespace phigguf {

enum class Problem : int {
  kNone,
  kNotFinite,      // a weight is NaN or infinite
  kScaleOverflow,  // a block's scale or minimum, or a weight itself, does not fit the type
};

struct EncodeStatus {
  Problem problem;
  size_t row;
};

// Rows of floats to rows of blocks. `importance` has one weight per column, or is null.
struct EncodeJob {
  const void* source;
  Type source_type;  // a float type
  size_t rows;
  size_t cols;
  const float* importance;
  uint8_t* blocks;
};

using EncodeRows = EncodeStatus (*)(const EncodeJob& job);
using DecodeBlocks = void (*)(const uint8_t* blocks, size_t n_blocks, float* out);
// How far n encoded weights are from the floats (of any float type) that they were made of.
using SquaredError = double (*)(const void* source, Type source_type, const uint8_t* encoded, size_t n);
using QuantizeActivations = void (*)(const float* x, size_t cols, size_t token, const Activations& all);
using Matmul = void (*)(const MatmulJob& job);

struct KernelTable {
  const char* isa;
  EncodeRows encode[kTypeCount];
  DecodeBlocks decode[kTypeCount];
  SquaredError squared_error[kTypeCount];
  QuantizeActivations quantize_activations[kTypeCount];  // null for float types
  Matmul matmul[kTypeCount];
  void (*rms_norm)(const float* x, const float* weight, size_t size, float epsilon, float* out);
  void (*layer_norm)(const float* x, const float* weight, const float* bias, size_t size, float epsilon, float* out);
  void (*gelu)(const float* x, size_t size, float* out);
  void (*softmax)(const float* x, size_t size, float* out);
  void (*silu_mul)(const float* gate, const float* up, size_t size, float* out);
  void (*rotate_halves)(float* x, const float* cosines, const float* sines, size_t half);
  float (*largest_magnitude)(const float* x, size_t size);  // of whole sixteens; NaN where any is not finite
  size_t (*attention_scratch)(const AttentionJob& job);
  void (*attend)(const AttentionJob& job);
  // The same in pieces: one span's positions into a part of attention_part(job) floats, and consecutive spans' parts
  // into the output.
  size_t (*attention_part)(const AttentionJob& job);
  void (*attend_span)(const AttentionJob& job, size_t span, float* part);
  void (*join_spans)(const AttentionJob& job, float* parts, size_t spans);
};

}  // namespace phigguf
