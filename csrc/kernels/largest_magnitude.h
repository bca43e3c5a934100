// The largest magnitude of some floats, or NaN where one of them is a NaN or an infinity.
#pragma once

#include "simd/simd.h"

PHIGGUF_BEGIN_ISA

inline float largest_magnitude(const float* x, size_t size) {  // size: a multiple of sixteen
  f32v largest = set(0.0f), poison = set(0.0f);
  for (size_t i = 0; i < size; i += kLanes) {
    const f32v v = load(x + i);
    largest = max(abs(v), largest);
    poison = poison + (v - v);  // NaN from either
  }
  return any(poison != set(0.0f)) ? bits_float(0x7fc00000u) : highest_lane(largest);
}

PHIGGUF_END_ISA
