// Sums of byte products for the ISAs whose dot product adds to lanes of 32 bits: what follows from `add_products` and
// `add_wide_products`.
#pragma once

PHIGGUF_BEGIN_ISA

constexpr int most_products(int) { return 64; }

inline bytesumv multiply_bytes(i32v codes, i32v x) { return add_products(set(0), codes, x); }
inline bytesumv multiply_wide_bytes(i32v codes, i32v x) { return add_wide_products(set(0), codes, x); }
inline i32v add_sum(i32v acc, bytesumv sum) { return acc + sum; }
inline i32v byte_scale(i32v bytes, int j) { return (bytes << (24 - 8 * j)) >> 24; }
inline i32v add_scaled(i32v acc, bytesumv sum, i32v scale) { return acc + sum * scale; }

PHIGGUF_END_ISA
