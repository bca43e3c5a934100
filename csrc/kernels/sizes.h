// The smaller and the larger of two sizes; std::min would be a symbol shared with code for other CPUs.
#pragma once

#include "simd/simd.h"

PHIGGUF_BEGIN_ISA

inline size_t smaller(size_t a, size_t b) { return a < b ? a : b; }
inline size_t larger(size_t a, size_t b) { return a > b ? a : b; }

PHIGGUF_END_ISA
