// Products of a few rows with many columns, c = a b: each sum is a chain over k in order, whatever the tiles.
//
// A tile is a few rows of c times a few vectors of columns, in registers: enough sums to hide the latency of a product,
// each row's element of a broadcast to all of them. Terms say what is multiplied: floats, or pairs of codes.
#pragma once

#include "simd/unroll.h"

PHIGGUF_BEGIN_ISA

constexpr size_t kTileRows = 6;
constexpr int kMostSums = kLanes == 16 ? 24 : 12;  // of a tile, as registers allow

struct FloatTerms {
  static constexpr size_t kElements = 1;
  using Row = float;
  using Column = float;
  static f32v zero() { return set(0.0f); }
  static f32v broadcast(const float* a) { return set(*a); }
  static f32v add(f32v sum, f32v a, f32v b) { return fma(a, b, sum); }
};

struct CodeTerms {
  static constexpr size_t kElements = 2;
  using Row = int16_t;
  using Column = int32_t;
  static i32v zero() { return set(0); }
  static i32v broadcast(const int16_t* a) { return broadcast_pair(a); }
  static i32v add(i32v sum, i32v a, i32v b) { return dot_pairs(sum, a, b); }
};

template <class Terms>
struct RowProduct {
  const typename Terms::Row* a;  // [rows][k][kElements]
  size_t a_stride;
  const typename Terms::Column* b;  // [k][columns], each of kElements
  size_t b_stride;
  size_t k_begin, k_end, columns;  // columns: a multiple of kLanes
};

// Calls end(row, column, sums) for every vector of sums.
template <class Terms, int kRows, int kWidth, class End>
inline void multiply_tile(const RowProduct<Terms>& p, size_t column, const End& end) {
  decltype(Terms::zero()) sum[kRows * kWidth];
  unroll<kRows * kWidth>([&](auto i) PHIGGUF_INLINE { sum[i] = Terms::zero(); });
  for (size_t k = p.k_begin; k < p.k_end; ++k) {
    const auto* a = p.a + k * Terms::kElements;
    const auto* b = p.b + k * p.b_stride + column;
    decltype(Terms::zero()) columns[kWidth];
    unroll<kWidth>([&](auto v) PHIGGUF_INLINE { columns[v] = load(b + v * kLanes); });
    unroll<kRows>([&](auto r) PHIGGUF_INLINE {
      const auto element = Terms::broadcast(a + r * p.a_stride);
      unroll<kWidth>(
          [&](auto v) PHIGGUF_INLINE { sum[r * kWidth + v] = Terms::add(sum[r * kWidth + v], element, columns[v]); });
    });
  }
  // Through memory: sums that `end` is handed from registers would leave them for the whole loop above.
  alignas(64) typename Terms::Column sums[kRows * kWidth * kLanes];
  unroll<kRows * kWidth>([&](auto i) PHIGGUF_INLINE { store(sums + i * kLanes, sum[i]); });
  for (size_t i = 0; i < kRows * kWidth; ++i) end(i / kWidth, column + i % kWidth * kLanes, load(sums + i * kLanes));
}

// Tiles as wide as can be; what is left of the columns, in narrower ones.
template <class Terms, int kRows, int kWidth, class End>
inline void multiply_columns(const RowProduct<Terms>& p, size_t column, const End& end) {
  for (; column + kWidth * kLanes <= p.columns; column += kWidth * kLanes)
    multiply_tile<Terms, kRows, kWidth>(p, column, end);
  if constexpr (kWidth > 1) multiply_columns<Terms, kRows, kWidth == 2 ? 1 : kWidth - 2>(p, column, end);
}

// At most kTileRows rows.
template <class Terms, class End>
inline void multiply_rows(const RowProduct<Terms>& p, size_t rows, const End& end) {
  with_constant<kTileRows>(rows, [&](auto n) PHIGGUF_INLINE {
    constexpr int kWidth = kMostSums / n / 2 * 2;
    multiply_columns<Terms, n, (kWidth < 8 ? kWidth : 8)>(p, 0, end);
  });
}

PHIGGUF_END_ISA
