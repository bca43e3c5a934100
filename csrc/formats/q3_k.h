// Q3_K: 256 weights in 16 sub-blocks with signed 6-bit scales; 3-bit codes around 4, their top bits kept apart.
#pragma once

#include "formats/format.h"
#include "kernels/quantize_signed.h"

PHIGGUF_BEGIN_ISA

struct Q3_K {
  using Block = BlockQ3_K;
  static constexpr int kWidth = 256, kSubWidth = 16, kZeroPoint = 4, kCodeBits = 3;
  static constexpr int kLargestSubScale = 32;
  static constexpr Min kMin = Min::kNone;
  using Quantizer = ThreeBitQuantizer<Q3_K>;

  template <class Source, class Word, class Put>
  PHIGGUF_INLINE static void unpack(const Source& block, ScaleWords<Q3_K, Word>& fields, const Put& put) {
    Word end[4];  // two codes, the twelve bytes of sub_scales, and the scale
    block.quad(sizeof(Block) - 16, end);
    fields.scale = high_half(end[3]);
    fields.min = repeat<Word>(0);
    const Word low[2] = {middle(end[0], end[1]), middle(end[1], end[2])}, high = middle(end[2], end[3]);
    for (int i = 0; i < 4; ++i) {
      const Word biased = bits_of_bytes(low[i % 2], 4 * (i / 2), 15) | (bits_of_bytes(high, 2 * i, 3) << 4);
      fields.sub_scale[i] = minus_32(biased);
    }
    const RunBits<Word> high_bits(block, offsetof(Block, high));
    unpack_pairs<Word>(block, offsetof(Block, low), [&](auto q, Word(&four)[4]) PHIGGUF_INLINE {
      high_bits.add_to(q, 2, four);
      put(q, four);
    });
  }
  static void pack(const Fields<Q3_K>& fields, Block& block) {
    block.scale = fields.scale;
    for (uint8_t& byte : block.sub_scales) byte = 0;
    for (int i = 0; i < 16; ++i) {
      const int biased = fields.sub_scale[i] + 32;
      uint8_t& low = block.sub_scales[i % 8];
      uint8_t& high = block.sub_scales[8 + i % 4];
      low = static_cast<uint8_t>(low | (biased & 15) << (4 * (i / 8)));
      high = static_cast<uint8_t>(high | (biased >> 4) << (2 * (i / 4)));
    }
    pack_pairs(fields.code, block.low);
    pack_run_bits(fields.code, 2, block.high);
  }
};

PHIGGUF_END_ISA
