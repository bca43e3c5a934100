// Sixteen lanes: AVX-512 F, BW, DQ, VL and VNNI.
#pragma once

#include <immintrin.h>

PHIGGUF_BEGIN_ISA

constexpr int kLanes = 16;

struct f32v {
  __m512 v;
};
struct i32v {
  __m512i v;
};
struct maskv {
  __mmask16 v;
};

inline f32v set(float x) { return {_mm512_set1_ps(x)}; }
inline i32v set(int32_t x) { return {_mm512_set1_epi32(x)}; }

inline f32v load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline f32v load(const float16* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline f32v load(const bfloat16* p) {
  const __m256i bits_u16x16 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits_u16x16), 16))};
}
inline i32v load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
inline f32v gather(const float* p, i32v at) { return {_mm512_i32gather_ps(at.v, p, sizeof(float))}; }
inline i32v load_u8(const uint8_t* p) {
  return {_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
inline void store(float* p, f32v a) { _mm512_storeu_ps(p, a.v); }
inline void store(int32_t* p, i32v a) { _mm512_storeu_si512(p, a.v); }
inline void store_u8(uint8_t* p, i32v a) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a.v)); }
inline void store_low_bytes(uint8_t (&out)[32], const i32v (&m)[2]) {
  store_u8(out, m[0]);
  store_u8(out + 16, m[1]);
}
inline void store_u16(uint16_t* p, i32v a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(a.v));
}

inline f32v operator+(f32v a, f32v b) { return {_mm512_add_ps(a.v, b.v)}; }
inline f32v operator-(f32v a, f32v b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline f32v operator*(f32v a, f32v b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline f32v operator/(f32v a, f32v b) { return {_mm512_div_ps(a.v, b.v)}; }
inline f32v neg(f32v a) { return {_mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f))}; }
inline f32v abs(f32v a) { return {_mm512_abs_ps(a.v)}; }
inline f32v sqrt(f32v a) { return {_mm512_sqrt_ps(a.v)}; }
inline f32v round(f32v a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline f32v fma(f32v a, f32v b, f32v c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline f32v min(f32v a, f32v b) { return {_mm512_min_ps(a.v, b.v)}; }
inline f32v max(f32v a, f32v b) { return {_mm512_max_ps(a.v, b.v)}; }

inline i32v operator+(i32v a, i32v b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline i32v operator-(i32v a, i32v b) { return {_mm512_sub_epi32(a.v, b.v)}; }
inline i32v operator*(i32v a, i32v b) { return {_mm512_mullo_epi32(a.v, b.v)}; }
inline i32v operator&(i32v a, i32v b) { return {_mm512_and_si512(a.v, b.v)}; }
inline i32v operator|(i32v a, i32v b) { return {_mm512_or_si512(a.v, b.v)}; }
inline i32v operator^(i32v a, i32v b) { return {_mm512_xor_si512(a.v, b.v)}; }
inline i32v operator<<(i32v a, int n) { return {_mm512_sll_epi32(a.v, _mm_cvtsi32_si128(n))}; }
inline i32v operator>>(i32v a, int n) { return {_mm512_sra_epi32(a.v, _mm_cvtsi32_si128(n))}; }
inline i32v min(i32v a, i32v b) { return {_mm512_min_epi32(a.v, b.v)}; }
inline i32v max(i32v a, i32v b) { return {_mm512_max_epi32(a.v, b.v)}; }

inline maskv operator<(f32v a, f32v b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline maskv operator<=(f32v a, f32v b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
inline maskv operator>(f32v a, f32v b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)}; }
inline maskv operator>=(f32v a, f32v b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ)}; }
inline maskv operator==(f32v a, f32v b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
inline maskv operator!=(f32v a, f32v b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_NEQ_UQ)}; }
inline maskv operator==(i32v a, i32v b) { return {_mm512_cmpeq_epi32_mask(a.v, b.v)}; }
inline maskv operator!=(i32v a, i32v b) { return {_mm512_cmpneq_epi32_mask(a.v, b.v)}; }
inline maskv operator>(i32v a, i32v b) { return {_mm512_cmpgt_epi32_mask(a.v, b.v)}; }
inline maskv operator&(maskv a, maskv b) { return {static_cast<__mmask16>(a.v & b.v)}; }
inline maskv operator|(maskv a, maskv b) { return {static_cast<__mmask16>(a.v | b.v)}; }
inline maskv operator~(maskv a) { return {static_cast<__mmask16>(~a.v)}; }
inline bool any(maskv m) { return m.v != 0; }
inline f32v select(maskv m, f32v yes, f32v no) { return {_mm512_mask_blend_ps(m.v, no.v, yes.v)}; }
inline i32v select(maskv m, i32v yes, i32v no) { return {_mm512_mask_blend_epi32(m.v, no.v, yes.v)}; }

inline f32v to_f32(i32v a) { return {_mm512_cvtepi32_ps(a.v)}; }
inline i32v truncate(f32v a) { return {_mm512_cvttps_epi32(a.v)}; }
inline i32v as_bits(f32v a) { return {_mm512_castps_si512(a.v)}; }
inline f32v as_floats(i32v a) { return {_mm512_castsi512_ps(a.v)}; }
inline i32v to_f16(f32v a) {
  return {_mm512_cvtepu16_epi32(_mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC))};
}
inline f32v from_f16(i32v a) { return {_mm512_cvtph_ps(_mm512_cvtepi32_epi16(a.v))}; }

struct f64v {
  __m512d low, high;
};
inline __m512d add_product(__m512d sum, __m256 a, __m256 b) {
  return _mm512_fmadd_pd(_mm512_cvtps_pd(a), _mm512_cvtps_pd(b), sum);
}
inline f64v add_product(f64v sum, f32v a, f32v b) {
  return {add_product(sum.low, _mm512_castps512_ps256(a.v), _mm512_castps512_ps256(b.v)),
          add_product(sum.high, _mm512_extractf32x8_ps(a.v, 1), _mm512_extractf32x8_ps(b.v, 1))};
}
inline void store(double* p, f64v a) {
  _mm512_storeu_pd(p, a.low);
  _mm512_storeu_pd(p + 8, a.high);
}

inline float highest_lane(f32v a) { return _mm512_reduce_max_ps(a.v); }

inline void transpose(f32v (&m)[kLanes]) {
  // Stage s exchanges the halves of 2^s-row groups: first within 128-bit quarters, then between them.
  __m512 pairs[16], quads[16];
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_ps(m[i].v, m[i + 1].v);
    pairs[i + 1] = _mm512_unpackhi_ps(m[i].v, m[i + 1].v);
  }
  for (int i = 0; i < 16; i += 4) {
    const __m512d lo0 = _mm512_castps_pd(pairs[i]), lo1 = _mm512_castps_pd(pairs[i + 2]);
    const __m512d hi0 = _mm512_castps_pd(pairs[i + 1]), hi1 = _mm512_castps_pd(pairs[i + 3]);
    quads[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(lo0, lo1));
    quads[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(lo0, lo1));
    quads[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(hi0, hi1));
    quads[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(hi0, hi1));
  }
  for (int i = 0; i < 4; ++i) {
    const __m512 even01 = _mm512_shuffle_f32x4(quads[i], quads[i + 4], 0x88);
    const __m512 odd01 = _mm512_shuffle_f32x4(quads[i], quads[i + 4], 0xdd);
    const __m512 even23 = _mm512_shuffle_f32x4(quads[i + 8], quads[i + 12], 0x88);
    const __m512 odd23 = _mm512_shuffle_f32x4(quads[i + 8], quads[i + 12], 0xdd);
    m[i].v = _mm512_shuffle_f32x4(even01, even23, 0x88);
    m[i + 4].v = _mm512_shuffle_f32x4(odd01, odd23, 0x88);
    m[i + 8].v = _mm512_shuffle_f32x4(even01, even23, 0xdd);
    m[i + 12].v = _mm512_shuffle_f32x4(odd01, odd23, 0xdd);
  }
}

inline __m128i load_quad(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }

template <class Row>
PHIGGUF_INLINE inline void load_quads(const Row& row, i32v (&words)[4]) {
  __m512i m[4];  // rows i, i + 4, i + 8 and i + 12 in the quarters of m[i]
  for (size_t i = 0; i < 4; ++i) {
    m[i] = _mm512_castsi128_si512(load_quad(row(i)));
    m[i] = _mm512_inserti32x4(m[i], load_quad(row(i + 4)), 1);
    m[i] = _mm512_inserti32x4(m[i], load_quad(row(i + 8)), 2);
    m[i] = _mm512_inserti32x4(m[i], load_quad(row(i + 12)), 3);
  }
  const __m512i low01 = _mm512_unpacklo_epi32(m[0], m[1]), high01 = _mm512_unpackhi_epi32(m[0], m[1]);
  const __m512i low23 = _mm512_unpacklo_epi32(m[2], m[3]), high23 = _mm512_unpackhi_epi32(m[2], m[3]);
  words[0].v = _mm512_unpacklo_epi64(low01, low23);
  words[1].v = _mm512_unpackhi_epi64(low01, low23);
  words[2].v = _mm512_unpacklo_epi64(high01, high23);
  words[3].v = _mm512_unpackhi_epi64(high01, high23);
}

constexpr bool kWideCodesAreSigned = false;

using bytesumv = i32v;
inline bytesumv add_products(bytesumv sum, i32v codes, i32v x) { return {_mm512_dpbusd_epi32(sum.v, codes.v, x.v)}; }
inline bytesumv add_wide_products(bytesumv sum, i32v codes, i32v x) { return add_products(sum, codes, x); }
inline i32v dot_words(i32v acc, i32v a, i32v b) { return {_mm512_dpwssd_epi32(acc.v, a.v, b.v)}; }

// Two bytes of each lane as words: moved to their upper halves, then shifted down with their signs.
inline i32v spread_bytes(i32v bytes, int low, int high) {
  const __m512i lane_u8x64 = _mm512_set4_epi32(0x0c000c00, 0x08000800, 0x04000400, 0);
  const __m512i index_u8x64 = _mm512_add_epi8(lane_u8x64, _mm512_set1_epi32(low << 8 | high << 24));
  return {_mm512_srai_epi16(_mm512_shuffle_epi8(bytes.v, index_u8x64), 8)};
}
inline i32v byte_pair(i32v bytes, int j) { return spread_bytes(bytes, 2 * j, 2 * j + 1); }

PHIGGUF_END_ISA

#include "simd/scaled_words.h"
#include "simd/word_pairs.h"
#include "simd/word_sums.h"
