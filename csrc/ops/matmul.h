// Activations times weights of any tensor type, over all threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/format_list.h"

namespace phigguf {

// out[m][n] = x[m][k] times the transpose of w[n][k], whose rows are of a tensor type.
//
// What comes just before a product in a network, and just after it, can be done along with it, a row at a time: the
// rows that are multiplied may be RMS norms of x's, or up * silu(gate) of x[m][2 * k], which holds the gate first.
struct MatmulTask {
  const float* x;
  size_t m, k;
  const uint8_t* weights;
  Type type;
  size_t n;
  float* out;
  int threads;        // 0: the process-wide number
  const float* norm;  // [k], or null
  float epsilon;      // of the norm
  bool gated;
  bool accumulate;  // add the products to `out`
};

void matmul(const MatmulTask& task);

}  // namespace phigguf
