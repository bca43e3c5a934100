// e^x in float32, within one unit in the last place, the same bits on every CPU.
//
// x = n * ln 2 + r with |r| <= ln 2 / 2; e^r = 1 + r + r^2 P(r), P interpolating at Chebyshev nodes to 7e-10.
#pragma once

#include "kernels/rounder.h"

PHIGGUF_BEGIN_ISA

// e^(x - n ln 2)
inline f32v exp_of_rest(f32v x, f32v n) {
  const f32v r = fma(n, set(0x1.05c610p-29f), fma(n, set(-0x1.62e430p-1f), x));
  f32v p = set(0x1.a124f2p-13f);
  p = fma(p, r, set(0x1.6d4324p-10f));
  p = fma(p, r, set(0x1.1110e0p-7f));
  p = fma(p, r, set(0x1.5554eap-5f));
  p = fma(p, r, set(0x1.555556p-3f));
  p = fma(p, r, set(0.5f));
  return fma(p, r * r, r) + set(1.0f);
}

inline f32v power_of_two(i32v n) { return as_floats((n + set(127)) << 23); }

// 2^n is applied in two factors, so that results down to the smallest denormal are rounded once and overflow is
// infinity.
inline f32v exp(f32v x) {
  const f32v rounder = set(kRounder);
  x = max(set(-104.0f), min(set(89.0f), x));  // where results are 0 and infinity; keeps NaN
  const f32v shifted = fma(x, set(0x1.715476p+0f), rounder);
  const i32v n = as_bits(shifted) - as_bits(rounder), half = n >> 1;
  return exp_of_rest(x, shifted - rounder) * power_of_two(half) * power_of_two(n - half);
}

// 2^x for x <= 0, zero below 2^-126.5: n + 127 is in the low bits of a sum, and 0 makes a factor of 0. With
// |r| <= 1/2, 2^r = 1 + r P(r), P's coefficients being given, highest first.
template <size_t kTerms>
inline f32v exp2_of_negative(f32v x, const float (&terms)[kTerms]) {
  const f32v rounder = set(kRounder + 127.0f);
  x = max(set(-127.0f), x);
  const f32v shifted = x + rounder, r = x - (shifted - rounder);
  f32v p = set(terms[0]);
  for (size_t i = 1; i < kTerms; ++i) p = fma(p, r, set(terms[i]));
  return fma(p, r, set(1.0f)) * as_floats(as_bits(shifted) << 23);
}

// P interpolating at Chebyshev nodes to 1e-8.
inline f32v exp2_of_negative(f32v x) {
  constexpr float kTerms[] = {0x1.44138ap-13f, 0x1.5f0890p-10f, 0x1.3b2a54p-7f,
                              0x1.c6af6cp-5f,  0x1.ebfbe0p-3f,  0x1.62e430p-1f};
  return exp2_of_negative(x, kTerms);
}
// To 7e-6, for what will be rounded to 2^-12.
inline f32v rough_exp2_of_negative(f32v x) {
  constexpr float kTerms[] = {0x1.3c6e5cp-7f, 0x1.c96d5ep-5f, 0x1.ebfb3ep-3f, 0x1.62e2d2p-1f};
  return exp2_of_negative(x, kTerms);
}

PHIGGUF_END_ISA
