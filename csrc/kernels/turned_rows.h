// Products with rows that lie along k, by turning squares of them in registers: lanes become rows.
#pragma once

#include "simd/unroll.h"

PHIGGUF_BEGIN_ISA

// Lane l of vector i is element i of row l.
template <class Element>
inline void load_turned(const Element* rows, size_t stride, f32v (&square)[kLanes]) {
  for (size_t l = 0; l < kLanes; ++l) square[l] = load(rows + l * stride);
  transpose(square);
}

// columns[k][j], of `length` k and kLanes rows, both whole squares.
inline void turn_rows(const float* rows, size_t stride, size_t length, float* columns, size_t column_stride) {
  for (size_t k = 0; k < length; k += kLanes) {
    f32v square[kLanes];
    load_turned(rows + k, stride, square);
    for (size_t i = 0; i < kLanes; ++i) store(columns + (k + i) * column_stride, square[i]);
  }
}

// The products of a few rows of floats with kLanes rows: sums over runs of kRun elements, in order, of a chain of fma
// from zero. `between` is called before each square.
template <int kRows, size_t kRun, class Between>
inline void multiply_turned(const float* a, size_t a_stride, const float* rows, size_t stride, size_t length,
                            float* out, size_t out_stride, const Between& between) {
  f32v total[kRows];
  for (f32v& t : total) t = set(0.0f);
  for (size_t begin = 0; begin < length; begin += kRun) {
    f32v sum[kRows];
    for (f32v& s : sum) s = set(0.0f);
    for (size_t k = begin; k < begin + kRun && k < length; k += kLanes) {
      between();
      f32v square[kLanes];
      load_turned(rows + k, stride, square);
      unroll<kLanes>([&](auto i) PHIGGUF_INLINE {
        unroll<kRows>([&](auto r) PHIGGUF_INLINE { sum[r] = fma(set(a[r * a_stride + k + i]), square[i], sum[r]); });
      });
    }
    for (int r = 0; r < kRows; ++r) total[r] = total[r] + sum[r];
  }
  for (int r = 0; r < kRows; ++r) store(out + static_cast<size_t>(r) * out_stride, total[r]);
}

PHIGGUF_END_ISA
