// Four lanes: NEON with the dot product and 8-bit matrix multiplication instructions (FEAT_DotProd, FEAT_I8MM).
#pragma once

#include "simd/neon_lanes.h"

PHIGGUF_BEGIN_ISA

constexpr bool kWideCodesAreSigned = false;  // USDOT takes unsigned codes as they are

inline bytesumv add_wide_products(bytesumv sum, i32v codes, i32v x) {
  return {vusdotq_s32(sum.v, vreinterpretq_u8_s32(codes.v), vreinterpretq_s8_s32(x.v))};
}

PHIGGUF_END_ISA

#include "simd/scaled_lanes.h"
#include "simd/word_sums.h"
