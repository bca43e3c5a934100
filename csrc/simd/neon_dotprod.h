// Four lanes: NEON with the dot product instructions (FEAT_DotProd).
#pragma once

#include "simd/neon_lanes.h"

PHIGGUF_BEGIN_ISA

constexpr bool kWideCodesAreSigned = true;  // SDOT multiplies signed bytes only

inline bytesumv add_wide_products(bytesumv sum, i32v codes, i32v x) { return add_products(sum, codes, x); }

PHIGGUF_END_ISA

#include "simd/scaled_lanes.h"
#include "simd/word_sums.h"
