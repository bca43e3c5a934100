// Two vectors as one of twice the lanes: two independent chains, each hiding the other's latency.
//
// A single vector converts to a pair of itself, so constants are written as for one vector.
#pragma once

#include "simd/simd.h"

PHIGGUF_BEGIN_ISA

constexpr int kPairLanes = 2 * kLanes;

struct f32w {
  f32v a, b;
  f32w() = default;
  f32w(f32v both) : a(both), b(both) {}
  f32w(f32v first, f32v second) : a(first), b(second) {}
};
struct i32w {
  i32v a, b;
  i32w() = default;
  i32w(i32v both) : a(both), b(both) {}
  i32w(i32v first, i32v second) : a(first), b(second) {}
};
struct maskw {
  maskv a, b;
};

inline f32w operator+(f32w x, f32w y) { return {x.a + y.a, x.b + y.b}; }
inline f32w operator-(f32w x, f32w y) { return {x.a - y.a, x.b - y.b}; }
inline f32w operator*(f32w x, f32w y) { return {x.a * y.a, x.b * y.b}; }
inline f32w operator/(f32w x, f32w y) { return {x.a / y.a, x.b / y.b}; }
inline f32w neg(f32w x) { return {neg(x.a), neg(x.b)}; }
inline f32w abs(f32w x) { return {abs(x.a), abs(x.b)}; }
inline f32w sqrt(f32w x) { return {sqrt(x.a), sqrt(x.b)}; }
inline f32w fma(f32w x, f32w y, f32w z) { return {fma(x.a, y.a, z.a), fma(x.b, y.b, z.b)}; }
inline f32w round(f32w x) { return {round(x.a), round(x.b)}; }
inline f32w min(f32w x, f32w y) { return {min(x.a, y.a), min(x.b, y.b)}; }
inline f32w max(f32w x, f32w y) { return {max(x.a, y.a), max(x.b, y.b)}; }

inline i32w operator+(i32w x, i32w y) { return {x.a + y.a, x.b + y.b}; }
inline i32w operator-(i32w x, i32w y) { return {x.a - y.a, x.b - y.b}; }
inline i32w operator&(i32w x, i32w y) { return {x.a & y.a, x.b & y.b}; }
inline i32w operator|(i32w x, i32w y) { return {x.a | y.a, x.b | y.b}; }
inline i32w operator<<(i32w x, int n) { return {x.a << n, x.b << n}; }
inline i32w operator>>(i32w x, int n) { return {x.a >> n, x.b >> n}; }
inline i32w min(i32w x, i32w y) { return {min(x.a, y.a), min(x.b, y.b)}; }
inline i32w max(i32w x, i32w y) { return {max(x.a, y.a), max(x.b, y.b)}; }

inline maskw operator<(f32w x, f32w y) { return {x.a < y.a, x.b < y.b}; }
inline maskw operator<=(f32w x, f32w y) { return {x.a <= y.a, x.b <= y.b}; }
inline maskw operator>(f32w x, f32w y) { return {x.a > y.a, x.b > y.b}; }
inline maskw operator>=(f32w x, f32w y) { return {x.a >= y.a, x.b >= y.b}; }
inline maskw operator==(f32w x, f32w y) { return {x.a == y.a, x.b == y.b}; }
inline maskw operator!=(f32w x, f32w y) { return {x.a != y.a, x.b != y.b}; }
inline maskw operator&(maskw x, maskw y) { return {x.a & y.a, x.b & y.b}; }
inline maskw operator|(maskw x, maskw y) { return {x.a | y.a, x.b | y.b}; }
inline maskw operator~(maskw x) { return {~x.a, ~x.b}; }
inline bool any(maskw m) { return any(m.a | m.b); }
inline f32w select(maskw m, f32w yes, f32w no) { return {select(m.a, yes.a, no.a), select(m.b, yes.b, no.b)}; }
inline i32w select(maskw m, i32w yes, i32w no) { return {select(m.a, yes.a, no.a), select(m.b, yes.b, no.b)}; }

inline f32w to_f32(i32w x) { return {to_f32(x.a), to_f32(x.b)}; }
inline i32w truncate(f32w x) { return {truncate(x.a), truncate(x.b)}; }
inline i32w as_bits(f32w x) { return {as_bits(x.a), as_bits(x.b)}; }
inline f32w as_floats(i32w x) { return {as_floats(x.a), as_floats(x.b)}; }
inline i32w to_f16(f32w x) { return {to_f16(x.a), to_f16(x.b)}; }
inline f32w from_f16(i32w x) { return {from_f16(x.a), from_f16(x.b)}; }

inline f32w load_pair(const float* p) { return {load(p), load(p + kLanes)}; }
inline i32w load_pair(const int32_t* p) { return {load(p), load(p + kLanes)}; }
inline f32w gather(const float* p, i32w at) { return {gather(p, at.a), gather(p, at.b)}; }
inline void store(float* p, f32w x) {
  store(p, x.a);
  store(p + kLanes, x.b);
}
inline void store(int32_t* p, i32w x) {
  store(p, x.a);
  store(p + kLanes, x.b);
}

PHIGGUF_END_ISA
