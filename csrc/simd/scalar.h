// One lane in plain C++: the meaning of every operation, and the path for CPUs without a better one.
#pragma once

PHIGGUF_BEGIN_ISA

constexpr int kLanes = 1;

struct f32v {
  float v;
};
struct i32v {
  int32_t v;
};
struct maskv {
  bool v;
};

inline f32v set(float x) { return {x}; }
inline i32v set(int32_t x) { return {x}; }

inline f32v load(const float* p) { return {*p}; }
inline f32v load(const float16* p) { return {to_float(*p)}; }
inline f32v load(const bfloat16* p) { return {to_float(*p)}; }
inline i32v load(const int32_t* p) { return {*p}; }
inline f32v gather(const float* p, i32v at) { return {p[at.v]}; }
inline i32v load_u8(const uint8_t* p) { return {*p}; }
inline void store(float* p, f32v a) { *p = a.v; }
inline void store(int32_t* p, i32v a) { *p = a.v; }
inline void store_u8(uint8_t* p, i32v a) { *p = static_cast<uint8_t>(a.v); }
inline void store_low_bytes(uint8_t (&out)[32], const i32v (&m)[32]) {
  for (int i = 0; i < 32; ++i) out[i] = static_cast<uint8_t>(m[i].v);
}
inline void store_u16(uint16_t* p, i32v a) { *p = static_cast<uint16_t>(a.v); }

inline f32v operator+(f32v a, f32v b) { return {a.v + b.v}; }
inline f32v operator-(f32v a, f32v b) { return {a.v - b.v}; }
inline f32v operator*(f32v a, f32v b) { return {a.v * b.v}; }
inline f32v operator/(f32v a, f32v b) { return {a.v / b.v}; }
inline f32v neg(f32v a) { return {-a.v}; }
inline f32v abs(f32v a) { return {bits_float(float_bits(a.v) & 0x7fffffffu)}; }
inline f32v sqrt(f32v a) { return {__builtin_sqrtf(a.v)}; }
inline f32v round(f32v a) { return {a.v + 0x1.8p23f - 0x1.8p23f}; }
inline f32v fma(f32v a, f32v b, f32v c) { return {__builtin_fmaf(a.v, b.v, c.v)}; }
inline f32v min(f32v a, f32v b) { return {a.v < b.v ? a.v : b.v}; }
inline f32v max(f32v a, f32v b) { return {a.v > b.v ? a.v : b.v}; }

inline i32v operator+(i32v a, i32v b) {
  return {static_cast<int32_t>(static_cast<uint32_t>(a.v) + static_cast<uint32_t>(b.v))};
}
inline i32v operator-(i32v a, i32v b) {
  return {static_cast<int32_t>(static_cast<uint32_t>(a.v) - static_cast<uint32_t>(b.v))};
}
inline i32v operator*(i32v a, i32v b) {
  return {static_cast<int32_t>(static_cast<uint32_t>(a.v) * static_cast<uint32_t>(b.v))};
}
inline i32v operator&(i32v a, i32v b) { return {a.v & b.v}; }
inline i32v operator|(i32v a, i32v b) { return {a.v | b.v}; }
inline i32v operator^(i32v a, i32v b) { return {a.v ^ b.v}; }
inline i32v operator<<(i32v a, int n) { return {static_cast<int32_t>(static_cast<uint32_t>(a.v) << n)}; }
inline i32v operator>>(i32v a, int n) { return {a.v >> n}; }
inline i32v min(i32v a, i32v b) { return {a.v < b.v ? a.v : b.v}; }
inline i32v max(i32v a, i32v b) { return {a.v > b.v ? a.v : b.v}; }

inline maskv operator<(f32v a, f32v b) { return {a.v < b.v}; }
inline maskv operator<=(f32v a, f32v b) { return {a.v <= b.v}; }
inline maskv operator>(f32v a, f32v b) { return {a.v > b.v}; }
inline maskv operator>=(f32v a, f32v b) { return {a.v >= b.v}; }
inline maskv operator==(f32v a, f32v b) { return {a.v == b.v}; }
inline maskv operator!=(f32v a, f32v b) { return {a.v != b.v}; }
inline maskv operator==(i32v a, i32v b) { return {a.v == b.v}; }
inline maskv operator!=(i32v a, i32v b) { return {a.v != b.v}; }
inline maskv operator>(i32v a, i32v b) { return {a.v > b.v}; }
inline maskv operator&(maskv a, maskv b) { return {a.v && b.v}; }
inline maskv operator|(maskv a, maskv b) { return {a.v || b.v}; }
inline maskv operator~(maskv a) { return {!a.v}; }
inline bool any(maskv m) { return m.v; }
inline f32v select(maskv m, f32v yes, f32v no) { return m.v ? yes : no; }
inline i32v select(maskv m, i32v yes, i32v no) { return m.v ? yes : no; }

inline f32v to_f32(i32v a) { return {static_cast<float>(a.v)}; }
inline i32v truncate(f32v a) {
  const bool in_range = a.v >= -0x1p31f && a.v < 0x1p31f;
  return {in_range ? static_cast<int32_t>(a.v) : INT32_MIN};
}
inline i32v as_bits(f32v a) { return {static_cast<int32_t>(float_bits(a.v))}; }
inline f32v as_floats(i32v a) { return {bits_float(static_cast<uint32_t>(a.v))}; }
inline i32v to_f16(f32v a) { return {to_float16(a.v).bits}; }
inline f32v from_f16(i32v a) { return {to_float(float16{static_cast<uint16_t>(a.v)})}; }

struct f64v {
  double v;
};
inline f64v add_product(f64v sum, f32v a, f32v b) {
  return {sum.v + static_cast<double>(a.v) * static_cast<double>(b.v)};
}
inline void store(double* p, f64v a) { *p = a.v; }

inline float highest_lane(f32v a) { return a.v; }

inline void transpose(f32v (&)[kLanes]) {}

template <class Row>
PHIGGUF_INLINE inline void load_quads(const Row& row, i32v (&words)[4]) {
  std::memcpy(words, row(0), 16);
}

constexpr bool kWideCodesAreSigned = true;

using bytesumv = i32v;
inline int32_t byte_of(i32v a, int i) { return static_cast<int8_t>(static_cast<uint32_t>(a.v) >> (8 * i)); }
inline bytesumv add_products(bytesumv sum, i32v codes, i32v x) {
  for (int i = 0; i < 4; ++i) sum.v += byte_of(codes, i) * byte_of(x, i);
  return sum;
}
inline bytesumv add_wide_products(bytesumv sum, i32v codes, i32v x) { return add_products(sum, codes, x); }
inline i32v byte_pair(i32v bytes, int j) {
  return (i32v{byte_of(bytes, 2 * j)} & i32v{0xffff}) | (i32v{byte_of(bytes, 2 * j + 1)} << 16);
}
inline i32v dot_words(i32v acc, i32v a, i32v b) {
  const int32_t low = static_cast<int16_t>(a.v) * static_cast<int16_t>(b.v);
  return {acc.v + low + (a.v >> 16) * (b.v >> 16)};
}

PHIGGUF_END_ISA

#include "simd/scaled_lanes.h"
#include "simd/word_pairs.h"
#include "simd/word_sums.h"
