// Sums of byte products for the ISAs whose dot product adds to lanes of 32 bits: what follows from `add_products` and
// `add_wide_products`.
#pragma once

PHIGGUF_BEGIN_ISA

using sumpart = int32_t;
inline bytesumv as_sum(i32v lanes) { return lanes; }
inline i32v as_lanes(bytesumv sum) { return sum; }

inline bytesumv multiply_bytes(i32v codes, i32v x) { return add_products(set(0), codes, x); }
inline bytesumv multiply_wide_bytes(i32v codes, i32v x) { return add_wide_products(set(0), codes, x); }
inline i32v add_sum(i32v acc, bytesumv sum) { return acc + sum; }

PHIGGUF_END_ISA
