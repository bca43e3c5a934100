// Four lanes: NEON with the dot product and 8-bit matrix multiplication instructions (FEAT_DotProd, FEAT_I8MM).
#pragma once

#include "simd/neon_lanes.h"
