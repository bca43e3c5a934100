// Eight lanes: AVX2, FMA and F16C.
#pragma once

#include "simd/avx2_lanes.h"

PHIGGUF_BEGIN_ISA

constexpr bool kWideCodesAreSigned = true;

inline i32v dot_words(i32v acc, i32v a, i32v b) { return {_mm256_add_epi32(acc.v, _mm256_madd_epi16(a.v, b.v))}; }

// vpmaddubsw adds two products to a word, and words are added up as long as they cannot overflow.
struct bytesumv {
  __m256i v;
};
using sumpart = int16_t;
inline bytesumv as_sum(i32v lanes) { return {lanes.v}; }
inline i32v as_lanes(bytesumv sum) { return {sum.v}; }
constexpr bool kStartsAreFree = false;
constexpr int most_products(int largest_code, bool) { return 32767 / (2 * 127 * largest_code); }

inline bytesumv multiply_bytes(i32v codes, i32v x) { return {_mm256_maddubs_epi16(codes.v, x.v)}; }
// The empty asm stops compilers from regrouping long sums, for which they would run out of registers.
inline bytesumv add_words(bytesumv sum, bytesumv products) {
  __m256i words_i16x16 = _mm256_add_epi16(sum.v, products.v);
  asm("" : "+x"(words_i16x16));
  return {words_i16x16};
}
inline bytesumv add_products(bytesumv sum, i32v codes, i32v x) { return add_words(sum, multiply_bytes(codes, x)); }
// The sign of a code is moved to x, since vpmaddubsw wants one side without.
inline bytesumv multiply_wide_bytes(i32v codes, i32v x) {
  return multiply_bytes({_mm256_abs_epi8(codes.v)}, {_mm256_sign_epi8(x.v, codes.v)});
}
inline bytesumv add_wide_products(bytesumv sum, i32v codes, i32v x) {
  return add_words(sum, multiply_wide_bytes(codes, x));
}
inline i32v add_sum(i32v acc, bytesumv sum) { return dot_words(acc, {sum.v}, {_mm256_set1_epi16(1)}); }

// A scale stands in both words, so that one instruction scales and adds.
inline i32v byte_scale(i32v bytes, int j) { return spread_bytes(bytes, j, j); }
inline i32v add_scaled(i32v acc, bytesumv sum, i32v scale) { return dot_words(acc, {sum.v}, scale); }

PHIGGUF_END_ISA

#include "simd/word_pairs.h"
