// c += a b in float32: to each element of c is added a chain of fma from zero over k in order, whatever the tiles.
//
// A tile is a few rows of c times a few vectors of columns, in registers: enough sums to hide the latency of fma, each
// row's element of a broadcast to all of them.
#pragma once

#include "simd/unroll.h"

PHIGGUF_BEGIN_ISA

constexpr size_t kTileRows = 6;
constexpr int kMostSums = kLanes == 16 ? 24 : 12;  // of a tile, as registers allow

template <class Element>
struct RowProduct {
  const float* a;  // [rows][k]
  size_t a_stride;
  const Element* b;  // [k][columns]
  size_t b_stride;
  float* c;  // [rows][columns]
  size_t c_stride;
  size_t k_begin, k_end, columns;  // columns: a multiple of kLanes
};

template <int kRows, int kWidth, class Element>
inline void multiply_tile(const RowProduct<Element>& p, size_t column) {
  f32v sum[kRows * kWidth];
  unroll<kRows * kWidth>([&](auto i) PHIGGUF_INLINE { sum[i] = set(0.0f); });
  for (size_t k = p.k_begin; k < p.k_end; ++k) {
    const float* a = p.a + k;
    const Element* b = p.b + k * p.b_stride + column;
    f32v columns[kWidth];
    unroll<kWidth>([&](auto v) PHIGGUF_INLINE { columns[v] = load(b + v * kLanes); });
    unroll<kRows>([&](auto r) PHIGGUF_INLINE {
      const f32v element = set(a[r * p.a_stride]);
      unroll<kWidth>([&](auto v)
                         PHIGGUF_INLINE { sum[r * kWidth + v] = fma(element, columns[v], sum[r * kWidth + v]); });
    });
  }
  unroll<kRows * kWidth>([&](auto i) PHIGGUF_INLINE {
    float* c = p.c + i / kWidth * p.c_stride + column + i % kWidth * kLanes;
    store(c, load(c) + sum[i]);
  });
}

// Tiles as wide as can be; what is left of the columns, in narrower ones.
template <int kRows, int kWidth, class Element>
inline void multiply_columns(const RowProduct<Element>& p, size_t column) {
  for (; column + kWidth * kLanes <= p.columns; column += kWidth * kLanes) multiply_tile<kRows, kWidth>(p, column);
  if constexpr (kWidth > 1) multiply_columns<kRows, kWidth == 2 ? 1 : kWidth - 2>(p, column);
}

template <int kRows, class Element>
inline void multiply_rows(const RowProduct<Element>& p) {
  constexpr int kWidth = kMostSums / kRows / 2 * 2;
  multiply_columns < kRows, kWidth<8 ? kWidth : 8>(p, 0);
}

// At most kTileRows rows.
template <class Element>
inline void multiply_rows(const RowProduct<Element>& p, size_t rows) {
  switch (rows) {
    case 1:
      return multiply_rows<1>(p);
    case 2:
      return multiply_rows<2>(p);
    case 3:
      return multiply_rows<3>(p);
    case 4:
      return multiply_rows<4>(p);
    case 5:
      return multiply_rows<5>(p);
    default:
      return multiply_rows<6>(p);
  }
}

PHIGGUF_END_ISA
