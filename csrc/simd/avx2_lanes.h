// Eight lanes of AVX2, FMA and F16C, shared by the ISAs that differ only in their byte dot product.
#pragma once

#include <immintrin.h>

PHIGGUF_BEGIN_ISA

constexpr int kLanes = 8;

struct f32v {
  __m256 v;
};
struct i32v {
  __m256i v;
};
struct maskv {
  __m256 v;  // all ones or all zeros in each lane
};

inline f32v set(float x) { return {_mm256_set1_ps(x)}; }
inline i32v set(int32_t x) { return {_mm256_set1_epi32(x)}; }

inline f32v load(const float* p) { return {_mm256_loadu_ps(p)}; }
inline f32v load(const float16* p) { return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))}; }
inline f32v load(const bfloat16* p) {
  const __m128i bits_u16x8 = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits_u16x8), 16))};
}
inline i32v load(const int32_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
inline f32v gather(const float* p, i32v at) { return {_mm256_i32gather_ps(p, at.v, sizeof(float))}; }
inline i32v load_u8(const uint8_t* p) {
  return {_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))};
}
inline void store(float* p, f32v a) { _mm256_storeu_ps(p, a.v); }
inline void store(int32_t* p, i32v a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.v); }
inline void store_u8(uint8_t* p, i32v a) {
  const __m256i low_byte_i32x8 = _mm256_and_si256(a.v, _mm256_set1_epi32(255));
  const __m128i words_u16x8 =
      _mm_packus_epi32(_mm256_castsi256_si128(low_byte_i32x8), _mm256_extracti128_si256(low_byte_i32x8, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words_u16x8, words_u16x8));
}
inline void store_low_bytes(uint8_t (&out)[32], const i32v (&m)[4]) {
  __m256i bytes_i32x8[4];
  for (int i = 0; i < 4; ++i) bytes_i32x8[i] = _mm256_and_si256(m[i].v, _mm256_set1_epi32(255));
  const __m256i first_u16x16 = _mm256_packus_epi32(bytes_i32x8[0], bytes_i32x8[1]);
  const __m256i second_u16x16 = _mm256_packus_epi32(bytes_i32x8[2], bytes_i32x8[3]);
  // Packing works within 128-bit halves: fours of codes come out in the order 0 2 4 6 1 3 5 7.
  const __m256i packed_u8x32 = _mm256_packus_epi16(first_u16x16, second_u16x16);
  const __m256i in_order_u8x32 = _mm256_permutevar8x32_epi32(packed_u8x32, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), in_order_u8x32);
}
inline void store_u16(uint16_t* p, i32v a) {
  const __m256i low_word_i32x8 = _mm256_and_si256(a.v, _mm256_set1_epi32(65535));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packus_epi32(_mm256_castsi256_si128(low_word_i32x8),
                                                                   _mm256_extracti128_si256(low_word_i32x8, 1)));
}

inline f32v operator+(f32v a, f32v b) { return {_mm256_add_ps(a.v, b.v)}; }
inline f32v operator-(f32v a, f32v b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline f32v operator*(f32v a, f32v b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline f32v operator/(f32v a, f32v b) { return {_mm256_div_ps(a.v, b.v)}; }
inline f32v neg(f32v a) { return {_mm256_xor_ps(a.v, _mm256_set1_ps(-0.0f))}; }
inline f32v abs(f32v a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
inline f32v sqrt(f32v a) { return {_mm256_sqrt_ps(a.v)}; }
inline f32v round(f32v a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline f32v fma(f32v a, f32v b, f32v c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline f32v min(f32v a, f32v b) { return {_mm256_min_ps(a.v, b.v)}; }
inline f32v max(f32v a, f32v b) { return {_mm256_max_ps(a.v, b.v)}; }

inline i32v operator+(i32v a, i32v b) { return {_mm256_add_epi32(a.v, b.v)}; }
inline i32v operator-(i32v a, i32v b) { return {_mm256_sub_epi32(a.v, b.v)}; }
inline i32v operator*(i32v a, i32v b) { return {_mm256_mullo_epi32(a.v, b.v)}; }
inline i32v operator&(i32v a, i32v b) { return {_mm256_and_si256(a.v, b.v)}; }
inline i32v operator|(i32v a, i32v b) { return {_mm256_or_si256(a.v, b.v)}; }
inline i32v operator^(i32v a, i32v b) { return {_mm256_xor_si256(a.v, b.v)}; }
inline i32v operator<<(i32v a, int n) { return {_mm256_sll_epi32(a.v, _mm_cvtsi32_si128(n))}; }
inline i32v operator>>(i32v a, int n) { return {_mm256_sra_epi32(a.v, _mm_cvtsi32_si128(n))}; }
inline i32v min(i32v a, i32v b) { return {_mm256_min_epi32(a.v, b.v)}; }
inline i32v max(i32v a, i32v b) { return {_mm256_max_epi32(a.v, b.v)}; }

inline maskv operator<(f32v a, f32v b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
inline maskv operator<=(f32v a, f32v b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
inline maskv operator>(f32v a, f32v b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)}; }
inline maskv operator>=(f32v a, f32v b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GE_OQ)}; }
inline maskv operator==(f32v a, f32v b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
inline maskv operator!=(f32v a, f32v b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_NEQ_UQ)}; }
inline maskv operator~(maskv a) { return {_mm256_xor_ps(a.v, _mm256_castsi256_ps(_mm256_set1_epi32(-1)))}; }
inline maskv operator==(i32v a, i32v b) { return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(a.v, b.v))}; }
inline maskv operator!=(i32v a, i32v b) { return ~(a == b); }
inline maskv operator>(i32v a, i32v b) { return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(a.v, b.v))}; }
inline maskv operator&(maskv a, maskv b) { return {_mm256_and_ps(a.v, b.v)}; }
inline maskv operator|(maskv a, maskv b) { return {_mm256_or_ps(a.v, b.v)}; }
inline bool any(maskv m) { return _mm256_movemask_ps(m.v) != 0; }
inline f32v select(maskv m, f32v yes, f32v no) { return {_mm256_blendv_ps(no.v, yes.v, m.v)}; }
inline i32v select(maskv m, i32v yes, i32v no) { return {_mm256_blendv_epi8(no.v, yes.v, _mm256_castps_si256(m.v))}; }

inline f32v to_f32(i32v a) { return {_mm256_cvtepi32_ps(a.v)}; }
inline i32v truncate(f32v a) { return {_mm256_cvttps_epi32(a.v)}; }
inline i32v as_bits(f32v a) { return {_mm256_castps_si256(a.v)}; }
inline f32v as_floats(i32v a) { return {_mm256_castsi256_ps(a.v)}; }
inline i32v to_f16(f32v a) {
  return {_mm256_cvtepu16_epi32(_mm256_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC))};
}
inline f32v from_f16(i32v a) {
  const __m128i bits_u16x8 = _mm_packus_epi32(_mm256_castsi256_si128(a.v), _mm256_extracti128_si256(a.v, 1));
  return {_mm256_cvtph_ps(bits_u16x8)};
}

struct f64v {
  __m256d low, high;
};
inline __m256d add_product(__m256d sum, __m128 a, __m128 b) {
  return _mm256_fmadd_pd(_mm256_cvtps_pd(a), _mm256_cvtps_pd(b), sum);
}
inline f64v add_product(f64v sum, f32v a, f32v b) {
  return {add_product(sum.low, _mm256_castps256_ps128(a.v), _mm256_castps256_ps128(b.v)),
          add_product(sum.high, _mm256_extractf128_ps(a.v, 1), _mm256_extractf128_ps(b.v, 1))};
}
inline void store(double* p, f64v a) {
  _mm256_storeu_pd(p, a.low);
  _mm256_storeu_pd(p + 4, a.high);
}

inline float highest_lane(f32v a) {
  const __m128 fours = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  const __m128 pairs = _mm_max_ps(fours, _mm_movehl_ps(fours, fours));
  return _mm_cvtss_f32(_mm_max_ss(pairs, _mm_movehdup_ps(pairs)));
}

inline void transpose(f32v (&m)[kLanes]) {
  __m256 quads[8];
  for (int i = 0; i < 8; i += 4) {
    const __m256d lo0 = _mm256_castps_pd(_mm256_unpacklo_ps(m[i].v, m[i + 1].v));
    const __m256d hi0 = _mm256_castps_pd(_mm256_unpackhi_ps(m[i].v, m[i + 1].v));
    const __m256d lo1 = _mm256_castps_pd(_mm256_unpacklo_ps(m[i + 2].v, m[i + 3].v));
    const __m256d hi1 = _mm256_castps_pd(_mm256_unpackhi_ps(m[i + 2].v, m[i + 3].v));
    quads[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(lo0, lo1));
    quads[i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(lo0, lo1));
    quads[i + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(hi0, hi1));
    quads[i + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(hi0, hi1));
  }
  for (int i = 0; i < 4; ++i) {
    m[i].v = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x20);
    m[i + 4].v = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x31);
  }
}

inline __m128i load_quad(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }

template <class Row>
PHIGGUF_INLINE inline void load_quads(const Row& row, i32v (&words)[4]) {
  __m256i m[4];  // rows i and i + 4 in the halves of m[i]
  for (size_t i = 0; i < 4; ++i) {
    m[i] = _mm256_castsi128_si256(load_quad(row(i)));
    m[i] = _mm256_inserti128_si256(m[i], load_quad(row(i + 4)), 1);
  }
  const __m256i low01 = _mm256_unpacklo_epi32(m[0], m[1]), high01 = _mm256_unpackhi_epi32(m[0], m[1]);
  const __m256i low23 = _mm256_unpacklo_epi32(m[2], m[3]), high23 = _mm256_unpackhi_epi32(m[2], m[3]);
  words[0].v = _mm256_unpacklo_epi64(low01, low23);
  words[1].v = _mm256_unpackhi_epi64(low01, low23);
  words[2].v = _mm256_unpacklo_epi64(high01, high23);
  words[3].v = _mm256_unpackhi_epi64(high01, high23);
}

// Two bytes of each lane as words: moved to their upper halves, then shifted down with their signs.
inline i32v spread_bytes(i32v bytes, int low, int high) {
  const int byte = low << 8 | high << 24;
  const __m256i lane_u8x32 =
      _mm256_set_epi32(0x0c000c00, 0x08000800, 0x04000400, 0, 0x0c000c00, 0x08000800, 0x04000400, 0);
  const __m256i moved_i16x16 = _mm256_shuffle_epi8(bytes.v, _mm256_add_epi8(lane_u8x32, _mm256_set1_epi32(byte)));
  return {_mm256_srai_epi16(moved_i16x16, 8)};
}
inline i32v byte_pair(i32v bytes, int j) { return spread_bytes(bytes, 2 * j, 2 * j + 1); }

PHIGGUF_END_ISA
