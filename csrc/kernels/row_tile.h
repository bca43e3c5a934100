// c += a b in float32: to each element of c is added a chain of fma from zero over k in order, whatever the tiles.
//
// A tile is a few rows of c times a few vectors of columns, in registers: eight to twelve sums, enough to hide the
// latency of fma, each row's element of a broadcast to all of them.
#pragma once

#include "kernels/unroll.h"

PHIGGUF_BEGIN_ISA

constexpr size_t kTileRows = 6;

struct RowProduct {
  const float* a;  // [rows][k]
  size_t a_stride;
  const float* b;  // [k][columns]
  size_t b_stride;
  float* c;  // [rows][columns]
  size_t c_stride;
  size_t k_begin, k_end, columns;  // columns: a multiple of kLanes
};

template <int kRows, int kWidth>
inline void multiply_tile(const RowProduct& p, size_t column) {
  f32v sum[kRows * kWidth];
  unroll<kRows * kWidth>([&](auto i) PHIGGUF_INLINE { sum[i] = set(0.0f); });
  for (size_t k = p.k_begin; k < p.k_end; ++k) {
    const float* a = p.a + k;
    const float* b = p.b + k * p.b_stride + column;
    unroll<kRows>([&](auto r) PHIGGUF_INLINE {
      const f32v element = set(a[r * p.a_stride]);
      unroll<kWidth>([&](auto v) PHIGGUF_INLINE {
        sum[r * kWidth + v] = fma(element, load(b + v * kLanes), sum[r * kWidth + v]);
      });
    });
  }
  unroll<kRows * kWidth>([&](auto i) PHIGGUF_INLINE {
    float* c = p.c + i / kWidth * p.c_stride + column + i % kWidth * kLanes;
    store(c, load(c) + sum[i]);
  });
}

template <int kRows, int kWidth>
inline void multiply_columns(const RowProduct& p, size_t column) {
  for (; column + kWidth * kLanes <= p.columns; column += kWidth * kLanes) multiply_tile<kRows, kWidth>(p, column);
  if constexpr (kWidth > 1) multiply_columns<kRows, kWidth / 2>(p, column);
}

// At most kTileRows rows.
inline void multiply_rows(const RowProduct& p, size_t rows) {
  switch (rows) {
    case 1:
      return multiply_columns<1, 8>(p, 0);
    case 2:
      return multiply_columns<2, 4>(p, 0);
    case 3:
      return multiply_columns<3, 4>(p, 0);
    case 4:
      return multiply_columns<4, 2>(p, 0);
    case 5:
      return multiply_columns<5, 2>(p, 0);
    default:
      return multiply_columns<6, 2>(p, 0);
  }
}

PHIGGUF_END_ISA
