// Products of float32, float16 or bfloat16 weights and float32 activations, summed as lane_sums.h says.
//
// One token meets kLanes weight rows together, so that one transpose adds up the partial sums of all of them.
#pragma once

#include "kernels/float_tiles.h"

PHIGGUF_BEGIN_ISA

// The products of one token with kLanes rows, a row to a lane.
template <class Element>
inline f32v multiply_rows(const Element* const (&rows)[kLanes], const float* x, size_t cols) {
  Partials sums[kLanes];
  for (Partials& sum : sums) sum = zero_partials();
  size_t k = 0;
  for (; k + kPartials <= cols; k += kPartials) {
    const Partials xk = load_partials(x + k);
    for (int l = 0; l < kLanes; ++l) add_products(sums[l], load_partials(rows[l] + k), xk);
  }
  if (k < cols) {
    const Partials xk = load_partials(x + k);
    for (int l = 0; l < kLanes; ++l) add_products(sums[l], load_partials(rows[l] + k, cols - k), xk);
  }
  return tree_sums(sums);
}

template <class Element>
inline void multiply_token(const MatmulJob& job) {
  const auto* weights = reinterpret_cast<const Element*>(job.weights);
  for (size_t row = 0; row < job.rows; row += kLanes) {
    const Element* rows[kLanes];
    for (size_t l = 0; l < kLanes; ++l) rows[l] = weights + (row + l < job.rows ? row + l : row) * job.cols;
    store_products(job, row, 0, multiply_rows(rows, job.x, job.cols));
  }
}

template <class Element>
inline void matmul_floats(const MatmulJob& job) {
  job.tokens == 1 ? multiply_token<Element>(job) : FloatTiles<Element>(job).multiply();
}

PHIGGUF_END_ISA
