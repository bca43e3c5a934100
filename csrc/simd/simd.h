// The contract that every ISA fulfils, and the only place that chooses between them.
//
// `variant.cpp` is compiled once per ISA, with PHIGGUF_ISA naming it. Everything an ISA file defines lives in
// `phigguf::<isa>` and in an unnamed namespace inside it, so that nothing compiled for one CPU can be linked into
// code that runs on another.
//
// A vector has `kLanes` lanes of 32 bits. Each operation below acts lane by lane and rounds as IEEE 754 float32, to
// nearest even, without fusing; `fma` alone rounds once. Where C leaves a result open, the contract is x86's:
//
//   type              f32v, i32v, maskv
//   memory            load(const float* | const float16* | const bfloat16*), load(const int32_t*), store(p, v),
//                     load_u8(const uint8_t*) -> i32v; gather(const float* p, i32v at)   p[at] of each lane's at
//                     store_u8(uint8_t*, i32v), store_u16(uint16_t*, i32v)   the low bits of each lane
//                     store_low_bytes(uint8_t (&)[32], const i32v (&)[32 / kLanes])   those of 32 lanes
//   arithmetic        + - * / on f32v, + - * & | ^ << >> on i32v, neg, abs, sqrt, fma(a, b, c) = a * b + c,
//                     round(a) to the nearest integer, ties to even, for |a| < 2^22; a zero may lose its sign
//   min(a, b)         a < b ? a : b        (so b where either is NaN)
//   max(a, b)         a > b ? a : b
//   comparison        < <= > >= == != -> maskv, ordered (NaN compares false, except !=)
//   masks             & | ~, any(m), select(m, yes, no)
//   conversion        to_f32(i32v); truncate(f32v) -> i32v, INT32_MIN when out of range or NaN;
//                     as_bits(f32v) -> i32v, as_floats(i32v) -> f32v;
//                     to_f16(f32v) -> i32v holding float16 bits; from_f16(i32v) -> f32v
//   double            f64v, with as many lanes; add_product(sum, a, b) = sum + a * b, where a and b are f32v, so that
//                     the product is exact; store(double*, f64v)
//   highest_lane(a)   the largest lane, none being NaN, as a float
//   transpose(m)      an f32v[kLanes] square, in place
//   load_quads(row, words)   words[i], i < 4: word i of the 16 bytes at row(lane), a const uint8_t*
//
// Integer dot products take lanes of four bytes or two 16-bit words as an i32v, and never saturate:
//   multiply_bytes(codes, x)       the sum of four products as a bytesumv; codes 0 to 63, x signed, -127 to 127
//   multiply_wide_bytes(codes, x)  the same for codes of all eight bits: signed where kWideCodesAreSigned,
//                                  else unsigned; a format whose zero point is 128 is turned into either
//   add_products(sum, codes, x), add_wide_products(sum, codes, x)   another four products; where a sum ends at products
//                                  of codes of some largest magnitude, it has room for most_products(that, whether it
//                                  will be scaled) of them
//   as_sum(i32v), as_lanes(bytesumv)   the same bits; a lane of a bytesumv is one or two numbers of type sumpart
//   kStartsAreFree                 a sum can begin anywhere at no cost
//   add_sum(acc, sum)              acc + sum
//   add_scaled(acc, sum, scale)    acc + sum * scale, a scale being
//   byte_scale(bytes, j)           signed byte j of each lane
//   byte_pair(bytes, j)            signed bytes 2 j and 2 j + 1 of each lane as words
//   dot_words(acc, a, b)           acc + the sum of two products of signed words, none of them -32768
//   dot_pairs(acc, a, b)           the same for words of a lane in the ISA's own order, from
//   pair_words(first, second)      the low words of two vectors
//   broadcast_pair(const int16_t*) two words, the same in every lane
//
// Where kHasTiles, SumTiles and PlaneTiles (amx_int8.h) multiply the bytes of kTileTokens tokens or queries at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/half.h"

#define PHIGGUF_BEGIN_ISA \
  namespace phigguf {     \
  namespace PHIGGUF_ISA { \
  namespace {
#define PHIGGUF_END_ISA \
  }                     \
  }                     \
  }

#define PHIGGUF_INLINE __attribute__((always_inline))

#if defined(PHIGGUF_SIMD_scalar)
#include "simd/scalar.h"
#elif defined(PHIGGUF_SIMD_avx2)
#include "simd/avx2.h"
#elif defined(PHIGGUF_SIMD_avxvnni)
#include "simd/avxvnni.h"
#elif defined(PHIGGUF_SIMD_avx512vnni)
#include "simd/avx512vnni.h"
#elif defined(PHIGGUF_SIMD_amx_int8)
#include "simd/amx_int8.h"
#elif defined(PHIGGUF_SIMD_neon_dotprod)
#include "simd/neon_dotprod.h"
#elif defined(PHIGGUF_SIMD_neon_i8mm)
#include "simd/neon_i8mm.h"
#else
#error "compile through cmake/isa_variants.cmake, which names the ISA"
#endif

#if !defined(PHIGGUF_SIMD_amx_int8)
#include "simd/no_tiles.h"
#endif
