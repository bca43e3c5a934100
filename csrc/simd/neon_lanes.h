// Four lanes of NEON with FEAT_DotProd, shared by the ISAs that differ only in how they take wide codes.
#pragma once

#include <arm_neon.h>

PHIGGUF_BEGIN_ISA

constexpr int kLanes = 4;

struct f32v {
  float32x4_t v;
};
struct i32v {
  int32x4_t v;
};
struct maskv {
  uint32x4_t v;  // all ones or all zeros in each lane
};

inline f32v set(float x) { return {vdupq_n_f32(x)}; }
inline i32v set(int32_t x) { return {vdupq_n_s32(x)}; }

inline f32v load(const float* p) { return {vld1q_f32(p)}; }
inline f32v load(const float16* p) { return {vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&p->bits)))}; }
inline f32v load(const bfloat16* p) { return {vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(&p->bits), 16))}; }
inline i32v load(const int32_t* p) { return {vld1q_s32(p)}; }
inline f32v gather(const float* p, i32v at) {
  const float lanes[kLanes] = {p[vgetq_lane_s32(at.v, 0)], p[vgetq_lane_s32(at.v, 1)], p[vgetq_lane_s32(at.v, 2)],
                               p[vgetq_lane_s32(at.v, 3)]};
  return load(lanes);
}
inline i32v load_u8(const uint8_t* p) {
  uint32_t four_bytes;
  std::memcpy(&four_bytes, p, sizeof four_bytes);
  const uint16x8_t words_u16x8 = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four_bytes)));
  return {vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(words_u16x8)))};
}
inline void store(float* p, f32v a) { vst1q_f32(p, a.v); }
inline void store(int32_t* p, i32v a) { vst1q_s32(p, a.v); }
inline uint16x4_t low_words(i32v a) { return vmovn_u32(vreinterpretq_u32_s32(a.v)); }
inline void store_u8(uint8_t* p, i32v a) {
  const uint16x4_t words_u16x4 = low_words(a);
  const uint8x8_t bytes_u8x8 = vmovn_u16(vcombine_u16(words_u16x4, words_u16x4));
  const uint32_t four_bytes = vget_lane_u32(vreinterpret_u32_u8(bytes_u8x8), 0);
  std::memcpy(p, &four_bytes, sizeof four_bytes);
}
inline void store_low_bytes(uint8_t (&out)[32], const i32v (&m)[8]) {
  for (int i = 0; i < 8; i += 4) {
    const int16x8_t first_i16x8 = vuzp1q_s16(vreinterpretq_s16_s32(m[i].v), vreinterpretq_s16_s32(m[i + 1].v));
    const int16x8_t second_i16x8 = vuzp1q_s16(vreinterpretq_s16_s32(m[i + 2].v), vreinterpretq_s16_s32(m[i + 3].v));
    vst1q_u8(out + 4 * i, vuzp1q_u8(vreinterpretq_u8_s16(first_i16x8), vreinterpretq_u8_s16(second_i16x8)));
  }
}
inline void store_u16(uint16_t* p, i32v a) { vst1_u16(p, low_words(a)); }

inline maskv operator<(f32v a, f32v b) { return {vcltq_f32(a.v, b.v)}; }
inline maskv operator<=(f32v a, f32v b) { return {vcleq_f32(a.v, b.v)}; }
inline maskv operator>(f32v a, f32v b) { return {vcgtq_f32(a.v, b.v)}; }
inline maskv operator>=(f32v a, f32v b) { return {vcgeq_f32(a.v, b.v)}; }
inline maskv operator==(f32v a, f32v b) { return {vceqq_f32(a.v, b.v)}; }
inline maskv operator~(maskv a) { return {vmvnq_u32(a.v)}; }
inline maskv operator!=(f32v a, f32v b) { return ~(a == b); }
inline maskv operator==(i32v a, i32v b) { return {vceqq_s32(a.v, b.v)}; }
inline maskv operator!=(i32v a, i32v b) { return ~(a == b); }
inline maskv operator>(i32v a, i32v b) { return {vcgtq_s32(a.v, b.v)}; }
inline maskv operator&(maskv a, maskv b) { return {vandq_u32(a.v, b.v)}; }
inline maskv operator|(maskv a, maskv b) { return {vorrq_u32(a.v, b.v)}; }
inline bool any(maskv m) { return vmaxvq_u32(m.v) != 0; }
inline f32v select(maskv m, f32v yes, f32v no) { return {vbslq_f32(m.v, yes.v, no.v)}; }
inline i32v select(maskv m, i32v yes, i32v no) { return {vbslq_s32(m.v, yes.v, no.v)}; }

inline f32v operator+(f32v a, f32v b) { return {vaddq_f32(a.v, b.v)}; }
inline f32v operator-(f32v a, f32v b) { return {vsubq_f32(a.v, b.v)}; }
inline f32v operator*(f32v a, f32v b) { return {vmulq_f32(a.v, b.v)}; }
inline f32v operator/(f32v a, f32v b) { return {vdivq_f32(a.v, b.v)}; }
inline f32v neg(f32v a) { return {vnegq_f32(a.v)}; }
inline f32v abs(f32v a) { return {vabsq_f32(a.v)}; }
inline f32v sqrt(f32v a) { return {vsqrtq_f32(a.v)}; }
inline f32v round(f32v a) { return {vrndnq_f32(a.v)}; }
inline f32v fma(f32v a, f32v b, f32v c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
// FMIN and FMAX treat NaN and the sign of zero in their own way, so these compare and select.
inline f32v min(f32v a, f32v b) { return select(a < b, a, b); }
inline f32v max(f32v a, f32v b) { return select(a > b, a, b); }

inline i32v operator+(i32v a, i32v b) { return {vaddq_s32(a.v, b.v)}; }
inline i32v operator-(i32v a, i32v b) { return {vsubq_s32(a.v, b.v)}; }
inline i32v operator*(i32v a, i32v b) { return {vmulq_s32(a.v, b.v)}; }
inline i32v operator&(i32v a, i32v b) { return {vandq_s32(a.v, b.v)}; }
inline i32v operator|(i32v a, i32v b) { return {vorrq_s32(a.v, b.v)}; }
inline i32v operator^(i32v a, i32v b) { return {veorq_s32(a.v, b.v)}; }
inline i32v operator<<(i32v a, int n) { return {vshlq_s32(a.v, vdupq_n_s32(n))}; }
inline i32v operator>>(i32v a, int n) { return {vshlq_s32(a.v, vdupq_n_s32(-n))}; }
inline i32v min(i32v a, i32v b) { return {vminq_s32(a.v, b.v)}; }
inline i32v max(i32v a, i32v b) { return {vmaxq_s32(a.v, b.v)}; }

inline f32v to_f32(i32v a) { return {vcvtq_f32_s32(a.v)}; }
// FCVTZS saturates and makes NaN 0; only below -2^31 does that agree with the contract.
inline i32v truncate(f32v a) { return select(a < set(0x1p31f), i32v{vcvtq_s32_f32(a.v)}, set(INT32_MIN)); }
inline i32v as_bits(f32v a) { return {vreinterpretq_s32_f32(a.v)}; }
inline f32v as_floats(i32v a) { return {vreinterpretq_f32_s32(a.v)}; }
inline i32v to_f16(f32v a) { return {vreinterpretq_s32_u32(vmovl_u16(vreinterpret_u16_f16(vcvt_f16_f32(a.v))))}; }
inline f32v from_f16(i32v a) { return {vcvt_f32_f16(vreinterpret_f16_u16(low_words(a)))}; }

struct f64v {
  float64x2_t low, high;
};
inline f64v add_product(f64v sum, f32v a, f32v b) {
  return {vfmaq_f64(sum.low, vcvt_f64_f32(vget_low_f32(a.v)), vcvt_f64_f32(vget_low_f32(b.v))),
          vfmaq_f64(sum.high, vcvt_high_f64_f32(a.v), vcvt_high_f64_f32(b.v))};
}
inline void store(double* p, f64v a) {
  vst1q_f64(p, a.low);
  vst1q_f64(p + 2, a.high);
}

inline float highest_lane(f32v a) { return vmaxvq_f32(a.v); }

inline void transpose(f32v (&m)[kLanes]) {
  const float64x2_t even01 = vreinterpretq_f64_f32(vtrn1q_f32(m[0].v, m[1].v));
  const float64x2_t odd01 = vreinterpretq_f64_f32(vtrn2q_f32(m[0].v, m[1].v));
  const float64x2_t even23 = vreinterpretq_f64_f32(vtrn1q_f32(m[2].v, m[3].v));
  const float64x2_t odd23 = vreinterpretq_f64_f32(vtrn2q_f32(m[2].v, m[3].v));
  m[0].v = vreinterpretq_f32_f64(vtrn1q_f64(even01, even23));
  m[1].v = vreinterpretq_f32_f64(vtrn1q_f64(odd01, odd23));
  m[2].v = vreinterpretq_f32_f64(vtrn2q_f64(even01, even23));
  m[3].v = vreinterpretq_f32_f64(vtrn2q_f64(odd01, odd23));
}

template <class Row>
PHIGGUF_INLINE inline void load_quads(const Row& row, i32v (&words)[4]) {
  f32v square[kLanes];
  for (size_t l = 0; l < kLanes; ++l) square[l].v = vreinterpretq_f32_u8(vld1q_u8(row(l)));
  transpose(square);
  for (int i = 0; i < 4; ++i) words[i] = as_bits(square[i]);
}

inline i32v dot_words(i32v acc, i32v a, i32v b) {
  const int16x8_t a_i16x8 = vreinterpretq_s16_s32(a.v), b_i16x8 = vreinterpretq_s16_s32(b.v);
  const int32x4_t low_i32x4 = vmull_s16(vget_low_s16(a_i16x8), vget_low_s16(b_i16x8));
  const int32x4_t high_i32x4 = vmull_high_s16(a_i16x8, b_i16x8);
  return {vaddq_s32(acc.v, vpaddq_s32(low_i32x4, high_i32x4))};
}

// Pairs are the first words of all lanes and then the second ones, as multiplying with 32-bit sums takes them.
inline i32v words_apart(int16x4_t first, int16x4_t second) {
  return {vreinterpretq_s32_s16(vcombine_s16(first, second))};
}
inline i32v pair_words(i32v first, i32v second) { return words_apart(vmovn_s32(first.v), vmovn_s32(second.v)); }
inline i32v broadcast_pair(const int16_t* words) { return words_apart(vld1_dup_s16(words), vld1_dup_s16(words + 1)); }
inline i32v dot_pairs(i32v acc, i32v a, i32v b) {
  const int16x8_t a_i16x8 = vreinterpretq_s16_s32(a.v), b_i16x8 = vreinterpretq_s16_s32(b.v);
  return {vmlal_high_s16(vmlal_s16(acc.v, vget_low_s16(a_i16x8), vget_low_s16(b_i16x8)), a_i16x8, b_i16x8)};
}

using bytesumv = i32v;
inline bytesumv add_products(bytesumv sum, i32v codes, i32v x) {
  return {vdotq_s32(sum.v, vreinterpretq_s8_s32(codes.v), vreinterpretq_s8_s32(x.v))};
}

inline i32v byte_pair(i32v bytes, int j) {
  const i32v low = ((bytes << (24 - 16 * j)) >> 24) & set(0xffff), high = ((bytes << (16 - 16 * j)) >> 24) << 16;
  return low | high;
}

PHIGGUF_END_ISA
