// Four lanes: NEON with the dot product and 8-bit matrix multiplication instructions (FEAT_DotProd, FEAT_I8MM).
#pragma once

#include "simd/neon_lanes.h"

PHIGGUF_BEGIN_ISA

constexpr bool kWideCodesAreSigned = false;  // USDOT takes unsigned codes as they are

inline i32v dot_wide_bytes(i32v acc, i32v codes, i32v x) {
  return {vusdotq_s32(acc.v, vreinterpretq_u8_s32(codes.v), vreinterpretq_s8_s32(x.v))};
}

PHIGGUF_END_ISA
