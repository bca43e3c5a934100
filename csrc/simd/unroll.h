// A loop whose index is a constant in every round.
#pragma once

#include "simd/simd.h"

PHIGGUF_BEGIN_ISA

template <int I>
struct Index {
  constexpr operator int() const { return I; }
};

// body(Index<0>()), body(Index<1>()) ... body(Index<N - 1>())
template <int N, int First = 0, class Body>
PHIGGUF_INLINE inline void unroll(const Body& body) {
  if constexpr (First < N) {
    body(Index<First>());
    unroll<N, First + 1>(body);
  }
}

// body(Index<n>()), n being from 1 to Most
template <int Most, class Body>
PHIGGUF_INLINE inline void with_constant(size_t n, const Body& body) {
  unroll<Most>([&](auto i) PHIGGUF_INLINE {
    if (n == i + 1) body(Index<i + 1>());
  });
}

PHIGGUF_END_ISA
