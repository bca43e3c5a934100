// Eight lanes: AVX2, FMA, F16C and the VEX-encoded AVX-VNNI.
#pragma once

#include "simd/avx2_lanes.h"

PHIGGUF_BEGIN_ISA

constexpr bool kWideCodesAreSigned = false;

using bytesumv = i32v;
inline bytesumv add_products(bytesumv sum, i32v codes, i32v x) {
  return {_mm256_dpbusd_avx_epi32(sum.v, codes.v, x.v)};
}
inline bytesumv add_wide_products(bytesumv sum, i32v codes, i32v x) { return add_products(sum, codes, x); }
inline i32v dot_words(i32v acc, i32v a, i32v b) { return {_mm256_dpwssd_avx_epi32(acc.v, a.v, b.v)}; }

PHIGGUF_END_ISA

#include "simd/scaled_words.h"
#include "simd/word_pairs.h"
#include "simd/word_sums.h"
