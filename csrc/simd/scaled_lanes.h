// Scaled sums for the ISAs that multiply and add whole lanes.
#pragma once

PHIGGUF_BEGIN_ISA

constexpr bool kStartsAreFree = true;
constexpr int most_products(int, bool) { return 64; }

inline i32v byte_scale(i32v bytes, int j) { return (bytes << (24 - 8 * j)) >> 24; }
inline i32v add_scaled(i32v acc, bytesumv sum, i32v scale) { return acc + sum * scale; }

PHIGGUF_END_ISA
