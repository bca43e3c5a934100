// Q2_K: 256 weights in 16 sub-blocks, each with a 4-bit scale and a 4-bit minimum; 2-bit codes.
#pragma once

#include "formats/format.h"
#include "kernels/quantize_scale_min.h"

PHIGGUF_BEGIN_ISA

struct Q2_K {
  using Block = BlockQ2_K;
  static constexpr int kWidth = 256, kSubWidth = 16, kZeroPoint = 0, kCodeBits = 2;
  static constexpr int kLargestSubScale = 15;
  static constexpr Min kMin = Min::kSubtracted;
  using Quantizer = ScaleMinQuantizer<Q2_K, 3, 15>;
  static constexpr ScaleMinSearch kSearch{-0.5f, 0.1f, 15};

  template <class Source, class Word, class Put>
  PHIGGUF_INLINE static void unpack(const Source& block, ScaleWords<Q2_K, Word>& fields, const Put& put) {
    Word words[4];
    block.quad(offsetof(Block, sub_scales), words);
    for (int i = 0; i < 4; ++i) {
      fields.sub_scale[i] = bits_of_bytes(words[i], 0, 15);
      fields.sub_min[i] = bits_of_bytes(words[i], 4, 15);
    }
    block.quad(sizeof(Block) - 16, words);
    fields.scale = low_half(words[3]);
    fields.min = high_half(words[3]);
    unpack_pairs<Word>(block, offsetof(Block, low), put);
  }
  static void pack(const Fields<Q2_K>& fields, Block& block) {
    block.scale = fields.scale;
    block.min = fields.min;
    for (int i = 0; i < 16; ++i) {
      block.sub_scales[i] = static_cast<uint8_t>((fields.sub_scale[i] & 15) | fields.sub_min[i] << 4);
    }
    pack_pairs(fields.code, block.low);
  }
};

PHIGGUF_END_ISA
