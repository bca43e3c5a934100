// Eight lanes: AVX2, FMA and F16C.
#pragma once

#include "simd/avx2_lanes.h"

PHIGGUF_BEGIN_ISA

constexpr bool kWideCodesAreSigned = true;

inline i32v dot_words(i32v acc, i32v a, i32v b) { return {_mm256_add_epi32(acc.v, _mm256_madd_epi16(a.v, b.v))}; }

// vpmaddubsw saturates its sums of two products, which stay below: 2 * 127 * 127 < 2^15 for narrow codes, and
// 2 * 128 * 127 < 2^15 for wide ones, whose sign has been moved to x.
inline i32v dot_bytes(i32v acc, i32v codes, i32v x) {
  const __m256i pairs_i16x16 = _mm256_maddubs_epi16(codes.v, x.v);
  return dot_words(acc, {pairs_i16x16}, {_mm256_set1_epi16(1)});
}
inline i32v dot_wide_bytes(i32v acc, i32v codes, i32v x) {
  return dot_bytes(acc, {_mm256_abs_epi8(codes.v)}, {_mm256_sign_epi8(x.v, codes.v)});
}

PHIGGUF_END_ISA
