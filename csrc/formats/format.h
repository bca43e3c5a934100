// What a block format says about itself, and the form in which every kernel sees a block: `Fields`.
//
// A format is a struct with
//   Block              its layout in blocks.h
//   kWidth, kSubWidth  weights in a block, weights that share a sub-block scale
//   kZeroPoint         the code that stands for 0
//   kMin               how the block's minimum enters a weight
//   Quantizer          which search of kernels/quantize_*.h makes its blocks
//   unpack, pack       Block <-> Fields, exact inverses of each other
// and a weight is    (scale * sub_scale) * (code - kZeroPoint)   [- min * sub_min | + min].
#pragma once

#include "formats/blocks.h"
#include "simd/simd.h"

PHIGGUF_BEGIN_ISA

enum class Min { kNone, kSubtracted, kAdded };

template <int Width, int SubWidth>
struct FieldsOf {
  static constexpr int kSubBlocks = Width / SubWidth;
  uint16_t scale;                // float16 bits
  uint16_t min;                  // float16 bits
  int8_t sub_scale[kSubBlocks];  // 1 where the format has none
  uint8_t sub_min[kSubBlocks];
  uint8_t code[Width];
};

template <class Format>
using Fields = FieldsOf<Format::kWidth, Format::kSubWidth>;

// Four-bit codes of one 32-wide block: weight i in the low nibble of byte i, weight 16 + i in the high one. Eight
// bytes at a time in a word: compilers unroll loops of sixteen before they think of vectors.
inline void unpack_nibbles(const uint8_t (&low)[16], uint8_t (&code)[32]) {
  constexpr uint64_t kLowNibbles = UINT64_C(0x0f0f0f0f0f0f0f0f);
  for (int i = 0; i < 16; i += 8) {
    uint64_t bytes;
    std::memcpy(&bytes, low + i, 8);
    const uint64_t first = bytes & kLowNibbles, second = (bytes >> 4) & kLowNibbles;
    std::memcpy(code + i, &first, 8);
    std::memcpy(code + 16 + i, &second, 8);
  }
}
inline void pack_nibbles(const uint8_t (&code)[32], uint8_t (&low)[16]) {
  for (int i = 0; i < 16; ++i) low[i] = static_cast<uint8_t>((code[i] & 15) | (code[16 + i] << 4));
}

// The fifth bits of one 32-wide block: weight i in bit i of a little-endian word.
inline void unpack_fifth_bits(const uint8_t (&high)[4], uint8_t (&code)[32]) {
  for (int i = 0; i < 4; ++i) {
    const uint64_t bit_of_each = high[i] * UINT64_C(0x0101010101010101) & UINT64_C(0x8040201008040201);
    const uint64_t top_bit_if_set = bit_of_each + UINT64_C(0x7f7f7f7f7f7f7f7f);
    uint64_t codes;
    std::memcpy(&codes, code + 8 * i, 8);
    codes |= (top_bit_if_set >> 3) & UINT64_C(0x1010101010101010);
    std::memcpy(code + 8 * i, &codes, 8);
  }
}
inline void pack_fifth_bits(const uint8_t (&code)[32], uint8_t (&high)[4]) {
  for (int byte = 0; byte < 4; ++byte) {
    unsigned bits = 0;
    for (int i = 0; i < 8; ++i) bits |= ((code[8 * byte + i] >> 4) & 1u) << i;
    high[byte] = static_cast<uint8_t>(bits);
  }
}

// Two-bit codes of a 256-wide block: each 32 bytes hold four runs of 32 weights, lowest bits first.
inline void unpack_pairs(const uint8_t (&low)[64], uint8_t (&code)[256]) {
  for (int half = 0; half < 2; ++half) {
    for (int run = 0; run < 4; ++run) {
      for (int i = 0; i < 32; ++i) code[128 * half + 32 * run + i] = (low[32 * half + i] >> (2 * run)) & 3;
    }
  }
}
inline void pack_pairs(const uint8_t (&code)[256], uint8_t (&low)[64]) {
  for (int half = 0; half < 2; ++half) {
    const uint8_t* run = code + 128 * half;
    for (int i = 0; i < 32; ++i) {
      low[32 * half + i] =
          static_cast<uint8_t>((run[i] & 3) | (run[32 + i] & 3) << 2 | (run[64 + i] & 3) << 4 | (run[96 + i] & 3) << 6);
    }
  }
}

// Four-bit codes of a 256-wide block: each 32 bytes hold two runs of 32 weights.
inline void unpack_nibble_runs(const uint8_t (&low)[128], uint8_t (&code)[256]) {
  for (int run = 0; run < 4; ++run) {
    for (int i = 0; i < 32; ++i) {
      code[64 * run + i] = low[32 * run + i] & 15;
      code[64 * run + 32 + i] = low[32 * run + i] >> 4;
    }
  }
}
inline void pack_nibble_runs(const uint8_t (&code)[256], uint8_t (&low)[128]) {
  for (int run = 0; run < 4; ++run) {
    for (int i = 0; i < 32; ++i) {
      low[32 * run + i] = static_cast<uint8_t>((code[64 * run + i] & 15) | (code[64 * run + 32 + i] << 4));
    }
  }
}

// Eight 6-bit scales and eight 6-bit mins in 12 bytes: the first four of each whole in the low six bits of bytes
// 0-7, the others' low four bits in bytes 8-11 and their top two in the spare bits of bytes 0-7.
inline void unpack_6bit_pairs(const uint8_t (&packed)[12], int8_t (&scale)[8], uint8_t (&min)[8]) {
  constexpr uint32_t kSixBits = 0x3f3f3f3f, kFourBits = 0x0f0f0f0f, kTopTwo = 0x30303030;
  uint32_t words[3];
  std::memcpy(words, packed, sizeof words);
  const uint32_t scales[2] = {words[0] & kSixBits, (words[2] & kFourBits) | ((words[0] >> 2) & kTopTwo)};
  const uint32_t mins[2] = {words[1] & kSixBits, ((words[2] >> 4) & kFourBits) | ((words[1] >> 2) & kTopTwo)};
  std::memcpy(scale, scales, sizeof scales);
  std::memcpy(min, mins, sizeof mins);
}
inline void pack_6bit_pairs(const int8_t (&scale)[8], const uint8_t (&min)[8], uint8_t (&packed)[12]) {
  for (int i = 0; i < 4; ++i) {
    packed[i] = static_cast<uint8_t>((scale[i] & 63) | ((scale[4 + i] & 63) >> 4) << 6);
    packed[4 + i] = static_cast<uint8_t>((min[i] & 63) | ((min[4 + i] & 63) >> 4) << 6);
    packed[8 + i] = static_cast<uint8_t>((scale[4 + i] & 15) | (min[4 + i] & 15) << 4);
  }
}

PHIGGUF_END_ISA
