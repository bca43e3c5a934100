// Eight lanes: AVX2, FMA, F16C and the VEX-encoded AVX-VNNI.
#pragma once

#include "simd/avx2_lanes.h"
