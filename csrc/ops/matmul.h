// Activations times weights of any tensor type, over all threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/format_list.h"

namespace phigguf {

// out[m][n] = x[m][k] times the transpose of w[n][k], whose rows are of a tensor type.
struct MatmulTask {
  const float* x;
  size_t m, k;
  const uint8_t* weights;
  Type type;
  size_t n;
  float* out;
  int threads;  // 0: the process-wide number
};

void matmul(const MatmulTask& task);

}  // namespace phigguf
