// Four lanes: NEON with the dot product instructions (FEAT_DotProd).
#pragma once

#include "simd/neon_lanes.h"

PHIGGUF_BEGIN_ISA

constexpr bool kWideCodesAreSigned = true;  // SDOT multiplies signed bytes only

inline i32v dot_wide_bytes(i32v acc, i32v codes, i32v x) { return dot_bytes(acc, codes, x); }

PHIGGUF_END_ISA
