// Rounding by one addition.
#pragma once

#include "simd/simd.h"

PHIGGUF_BEGIN_ISA

// Added to a float below 2^22 in magnitude, it leaves the nearest integer, ties to even, in the low bits of the sum.
constexpr float kRounder = 0x1.8p23f;
constexpr uint32_t kRounderBits = 0x4b400000;

PHIGGUF_END_ISA
