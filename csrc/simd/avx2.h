// Eight lanes: AVX2, FMA and F16C.
#pragma once

#include "simd/avx2_lanes.h"
