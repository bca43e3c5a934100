// Pairs of words for the ISAs that multiply the two words of a lane: what follows from `dot_words`.
#pragma once

PHIGGUF_BEGIN_ISA

inline i32v pair_words(i32v first, i32v second) { return (first & set(0xffff)) | (second << 16); }
inline i32v broadcast_pair(const int16_t* words) {
  int32_t both;
  std::memcpy(&both, words, sizeof both);
  return set(both);
}
inline i32v dot_pairs(i32v acc, i32v a, i32v b) { return dot_words(acc, a, b); }

PHIGGUF_END_ISA
