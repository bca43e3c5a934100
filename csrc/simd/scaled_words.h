// Scaled sums for the ISAs that add the products of words in one instruction: a sum kept to 16 bits is multiplied by a
// scale in the low word of its lane, and its sign by nothing in the high one.
#pragma once

PHIGGUF_BEGIN_ISA

constexpr bool kStartsAreFree = true;
constexpr int most_products(int largest_code, bool scaled) { return scaled ? 32767 / (4 * 127 * largest_code) : 64; }

inline i32v byte_scale(i32v bytes, int j) { return ((bytes << (24 - 8 * j)) >> 24) & set(0xffff); }
inline i32v add_scaled(i32v acc, bytesumv sum, i32v scale) { return dot_words(acc, sum, scale); }

PHIGGUF_END_ISA
