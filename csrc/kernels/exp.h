// e^x in float32, within one unit in the last place, the same bits on every CPU.
//
// x = n * ln 2 + r with |r| <= ln 2 / 2; e^r = 1 + r + r^2 P(r), P interpolating at Chebyshev nodes to 7e-10; 2^n is
// applied in two factors, so that results down to the smallest denormal are rounded once and overflow is infinity.
#pragma once

#include "simd/simd.h"

PHIGGUF_BEGIN_ISA

inline f32v power_of_two(i32v n) { return as_floats((n + set(127)) << 23); }

inline f32v exp(f32v x) {
  const f32v rounder = set(0x1.8p23f), log2_e = set(0x1.715476p+0f);
  const f32v ln2_high = set(0x1.62e430p-1f), ln2_low = set(-0x1.05c610p-29f);
  x = max(set(-104.0f), min(set(89.0f), x));  // where results are 0 and infinity; keeps NaN
  const f32v shifted = fma(x, log2_e, rounder);
  const i32v n = as_bits(shifted) - as_bits(rounder);
  const f32v n_float = shifted - rounder;
  const f32v r = fma(neg(n_float), ln2_low, fma(neg(n_float), ln2_high, x));
  f32v p = set(0x1.a124f2p-13f);
  p = fma(p, r, set(0x1.6d4324p-10f));
  p = fma(p, r, set(0x1.1110e0p-7f));
  p = fma(p, r, set(0x1.5554eap-5f));
  p = fma(p, r, set(0x1.555556p-3f));
  p = fma(p, r, set(0.5f));
  p = fma(p, r * r, r) + set(1.0f);
  const i32v half = n >> 1;
  return p * power_of_two(half) * power_of_two(n - half);
}

PHIGGUF_END_ISA
