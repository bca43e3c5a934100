// Sums of several tokens that stay in registers.
#pragma once

#include "kernels/row_blocks.h"
#include "simd/unroll.h"

PHIGGUF_BEGIN_ISA

// One sum for each of kRowVectors row vectors and `Tokens` tokens. Compilers keep an array in registers only where
// every index is a constant before their loop passes, hence the unrolling by hand.
template <class Sum, int Tokens>
struct RegisterTile {
  Sum sums[kRowVectors * Tokens];

  // visit(sum, r, t)
  template <class Visit>
  PHIGGUF_INLINE void each(const Visit& visit) {
    unroll<kRowVectors * Tokens>([&](auto i) PHIGGUF_INLINE { visit(sums[i], i % kRowVectors, i / kRowVectors); });
  }
};

PHIGGUF_END_ISA
