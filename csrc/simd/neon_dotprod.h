// Four lanes: NEON with the dot product instructions (FEAT_DotProd).
#pragma once

#include "simd/neon_lanes.h"
