// What a block format says about itself, and the form in which every kernel sees a block: `Fields`.
//
// A format is a struct with
//   Block              its layout in blocks.h
//   kWidth, kSubWidth  weights in a block, weights that share a sub-block scale
//   kZeroPoint         the code that stands for 0
//   kCodeBits          bits of a code
//   kLargestSubScale   the largest magnitude of a sub-block's scale, where sub-blocks have one
//   kMin               how the block's minimum enters a weight
//   Quantizer          which search of kernels/quantize_*.h makes its blocks
//   unpack             the bytes of a block to `ScaleWords` and codes, for one block or for one in every lane
//   pack               Fields to Block, its exact inverse
// and a weight is    (scale * sub_scale) * (code - kZeroPoint)   [- min * sub_min | + min].
#pragma once

#include "formats/blocks.h"
#include "simd/simd.h"
#include "simd/unroll.h"

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

// The same by words of four bytes, all but the codes: a Word is a uint32_t of one block, or an i32v with a block in
// every lane.
//
// unpack(source, scales, put) sets these, then calls put(q, four) with words q to q + 3 of the codes, not in order of
// q, which is an Index: what is put can stay in registers.
template <class Format, class Word>
struct ScaleWords {
  static constexpr int kSubBlocks = Format::kWidth / Format::kSubWidth;
  static constexpr int kSubWords = kSubBlocks < 4 ? 1 : kSubBlocks / 4;
  Word scale, min;
  Word sub_scale[kSubWords], sub_min[kSubWords];  // bytes; left alone where there is one sub-block
};

template <class Word>
inline Word repeat(uint32_t bits);
template <>
inline uint32_t repeat<uint32_t>(uint32_t bits) {
  return bits;
}
template <>
inline i32v repeat<i32v>(uint32_t bits) {
  return set(static_cast<int32_t>(bits));
}

template <class Word>
inline Word low_half(Word word) {
  return word & repeat<Word>(0xffff);
}
template <class Word>
inline Word high_half(Word word) {
  return (word >> 16) & repeat<Word>(0xffff);
}
// Bits 16 to 47 of two words.
template <class Word>
inline Word middle(Word low, Word high) {
  return high_half(low) | (high << 16);
}
// Some bits of every byte, moved to the bottom of the byte.
template <class Word>
inline Word bits_of_bytes(Word word, int first, uint32_t mask) {
  return (word >> first) & repeat<Word>(mask * 0x01010101u);
}
// 32 less in every byte of 0 to 63: with its top bit set no byte borrows from the next.
template <class Word>
inline Word minus_32(Word bytes) {
  return ((bytes | repeat<Word>(0x80808080u)) - repeat<Word>(0x20202020u)) ^ repeat<Word>(0x80808080u);
}

// Where unpack reads a single block.
class BlockBytes {
 public:
  explicit BlockBytes(const void* block) : bytes_(static_cast<const uint8_t*>(block)) {}
  void quad(size_t offset, uint32_t (&words)[4]) const { std::memcpy(words, bytes_ + offset, sizeof words); }

 private:
  const uint8_t* bytes_;
};

// Where it reads kLanes blocks, `stride` bytes apart.
class LaneBytes {
 public:
  LaneBytes(const uint8_t* first, size_t stride) : first_(first), stride_(stride) {}
  PHIGGUF_INLINE void quad(size_t offset, i32v (&words)[4]) const {
    load_quads([&](size_t lane) PHIGGUF_INLINE { return first_ + offset + lane * stride_; }, words);
  }

 private:
  const uint8_t* first_;
  size_t stride_;
};

// The fields of a single block.
template <class Format>
inline void unpack_block(const typename Format::Block& block, Fields<Format>& fields) {
  ScaleWords<Format, uint32_t> words;
  Format::unpack(BlockBytes(&block), words,
                 [&](int q, const uint32_t (&four)[4]) { std::memcpy(fields.code + 4 * q, four, sizeof four); });
  fields.scale = static_cast<uint16_t>(words.scale);
  fields.min = static_cast<uint16_t>(words.min);
  if constexpr (Fields<Format>::kSubBlocks > 1) {
    std::memcpy(fields.sub_scale, words.sub_scale, sizeof fields.sub_scale);
    std::memcpy(fields.sub_min, words.sub_min, sizeof fields.sub_min);
  } else {
    fields.sub_scale[0] = 1;
    fields.sub_min[0] = 1;
  }
}

// Some bits of every byte of four words.
template <class Word>
inline void bits_of_quad(const Word (&from)[4], int first, uint32_t mask, Word (&four)[4]) {
  for (int i = 0; i < 4; ++i) four[i] = bits_of_bytes(from[i], first, mask);
}

// Four-bit codes of one 32-wide block: weight i in the low nibble of byte i, weight 16 + i in the high one.
template <class Word, class Source, class Put>
PHIGGUF_INLINE inline void unpack_nibbles(const Source& source, size_t offset, const Put& put) {
  Word low[4], four[4];
  source.quad(offset, low);
  bits_of_quad(low, 0, 15, four);
  put(Index<0>(), four);
  bits_of_quad(low, 4, 15, four);
  put(Index<4>(), four);
}
inline void pack_nibbles(const uint8_t (&code)[32], uint8_t (&low)[16]) {
  constexpr uint64_t kLowNibbles = UINT64_C(0x0f0f0f0f0f0f0f0f);
  for (int i = 0; i < 16; i += 8) {
    uint64_t first, second;
    std::memcpy(&first, code + i, 8);
    std::memcpy(&second, code + 16 + i, 8);
    const uint64_t bytes = (first & kLowNibbles) | (second & kLowNibbles) << 4;
    std::memcpy(low + i, &bytes, 8);
  }
}

// The fifth bits of one 32-wide block: weight i in bit i of a word. Multiplying copies a nibble to every seventh bit,
// so that its bit j lands at the bottom of byte j.
template <class Word>
inline void add_fifth_bits(Word high, int q, Word (&four)[4]) {
  for (int i = 0; i < 4; ++i) {
    const Word nibble = (high >> (4 * (q + i))) & repeat<Word>(15);
    four[i] = four[i] | (bits_of_bytes(nibble * repeat<Word>(0x00204081), 0, 1) << 4);
  }
}
inline void pack_fifth_bits(const uint8_t (&code)[32], uint8_t (&high)[4]) {
  for (int byte = 0; byte < 4; ++byte) {
    uint64_t codes;
    std::memcpy(&codes, code + 8 * byte, 8);
    // Multiplying sends the bit of byte i to bit 56 + i, and no two to one place.
    const uint64_t bit_of_each = (codes >> 4) & UINT64_C(0x0101010101010101);
    high[byte] = static_cast<uint8_t>(bit_of_each * UINT64_C(0x0102040810204080) >> 56);
  }
}

// Two-bit codes of a 256-wide block: each 32 bytes hold four runs of 32 weights, lowest bits first.
template <class Word, class Source, class Put>
PHIGGUF_INLINE inline void unpack_pairs(const Source& source, size_t offset, const Put& put) {
  unroll<4>([&](auto quad) PHIGGUF_INLINE {
    constexpr int kFirst = 32 * (quad / 2) + 4 * (quad % 2);
    Word low[4];
    source.quad(offset + 16 * static_cast<size_t>(quad), low);
    unroll<4>([&](auto run) PHIGGUF_INLINE {
      Word four[4];
      bits_of_quad(low, 2 * run, 3, four);
      put(Index<kFirst + 8 * run>(), four);
    });
  });
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
template <class Word, class Source, class Put>
PHIGGUF_INLINE inline void unpack_nibble_runs(const Source& source, size_t offset, const Put& put) {
  unroll<8>([&](auto quad) PHIGGUF_INLINE {
    constexpr int kFirst = 16 * (quad / 2) + 4 * (quad % 2);
    Word low[4], four[4];
    source.quad(offset + 16 * static_cast<size_t>(quad), low);
    bits_of_quad(low, 0, 15, four);
    put(Index<kFirst>(), four);
    bits_of_quad(low, 4, 15, four);
    put(Index<kFirst + 8>(), four);
  });
}
inline void pack_nibble_runs(const uint8_t (&code)[256], uint8_t (&low)[128]) {
  for (int run = 0; run < 4; ++run) {
    for (int i = 0; i < 32; ++i) {
      low[32 * run + i] = static_cast<uint8_t>((code[64 * run + i] & 15) | (code[64 * run + 32 + i] << 4));
    }
  }
}

// One more bit for every code of a 256-wide block: that of run r of 32 weights in bit r of 32 bytes.
template <class Word>
class RunBits {
 public:
  template <class Source>
  RunBits(const Source& source, size_t offset) {
    source.quad(offset, high_[0]);
    source.quad(offset + 16, high_[1]);
  }
  void add_to(int q, int place, Word (&four)[4]) const {
    const Word(&high)[4] = high_[q / 4 % 2];
    for (int i = 0; i < 4; ++i) four[i] = four[i] | (bits_of_bytes(high[i], q / 8, 1) << place);
  }

 private:
  Word high_[2][4];
};
inline void pack_run_bits(const uint8_t (&code)[256], int place, uint8_t (&high)[32]) {
  for (int i = 0; i < 32; ++i) {
    unsigned bits = 0;
    for (int run = 0; run < 8; ++run) bits |= ((code[32 * run + i] >> place) & 1u) << run;
    high[i] = static_cast<uint8_t>(bits);
  }
}

// Eight 6-bit scales and eight 6-bit mins in 12 bytes: the first four of each whole in the low six bits of bytes
// 0-7, the others' low four bits in bytes 8-11 and their top two in the spare bits of bytes 0-7.
// A block begins with its own scale and minimum, which they follow.
template <class Source, class Format, class Word>
inline void unpack_6bit_head(const Source& block, ScaleWords<Format, Word>& fields) {
  Word head[4];
  block.quad(0, head);
  const Word scales = head[1], mins = head[2], rest = head[3];
  fields.scale = low_half(head[0]);
  fields.min = high_half(head[0]);
  fields.sub_scale[0] = bits_of_bytes(scales, 0, 63);
  fields.sub_min[0] = bits_of_bytes(mins, 0, 63);
  fields.sub_scale[1] = bits_of_bytes(rest, 0, 15) | bits_of_bytes(scales, 2, 48);
  fields.sub_min[1] = bits_of_bytes(rest, 4, 15) | bits_of_bytes(mins, 2, 48);
}
inline void pack_6bit_pairs(const int8_t (&scale)[8], const uint8_t (&min)[8], uint8_t (&packed)[12]) {
  for (int i = 0; i < 4; ++i) {
    packed[i] = static_cast<uint8_t>((scale[i] & 63) | ((scale[4 + i] & 63) >> 4) << 6);
    packed[4 + i] = static_cast<uint8_t>((min[i] & 63) | ((min[4 + i] & 63) >> 4) << 6);
    packed[8 + i] = static_cast<uint8_t>((scale[4 + i] & 15) | (min[4 + i] & 15) << 4);
  }
}

PHIGGUF_END_ISA
