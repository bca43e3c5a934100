// How much each weight counts where there is an importance matrix.
#pragma once

#include "kernels/search.h"
#include "kernels/tile.h"

PHIGGUF_BEGIN_ISA

// Sets w, and returns its sum from left to right.
template <int N>
inline f32w weigh(const f32w* x, const f32w* importance, f32w mean_square, f32w* w) {
  f32w sum;
  for (int i = 0; i < N; ++i) {
    w[i] = importance[i] * sqrt(mean_square + square(x[i]));
    sum = i == 0 ? w[0] : sum + w[i];
  }
  return sum;
}

// Summed from left to right.
template <class Format>
inline f32w block_square_sum(const Tile<Format>& tile) {
  f32w sum = set(0.0f);
  for (const f32w& x : tile.x) sum = sum + square(x);
  return sum;
}

PHIGGUF_END_ISA
