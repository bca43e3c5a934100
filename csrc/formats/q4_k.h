// Q4_K: 256 weights in 8 sub-blocks, each with a 6-bit scale and a 6-bit minimum; 4-bit codes.
#pragma once

#include "formats/format.h"
#include "kernels/quantize_scale_min.h"

PHIGGUF_BEGIN_ISA

struct Q4_K {
  using Block = BlockQ4_K;
  static constexpr int kWidth = 256, kSubWidth = 32, kZeroPoint = 0, kCodeBits = 4;
  static constexpr int kLargestSubScale = 63;
  static constexpr Min kMin = Min::kSubtracted;
  using Quantizer = ScaleMinQuantizer<Q4_K, 15, 63>;
  static constexpr ScaleMinSearch kSearch{-1.0f, 0.1f, 20};

  template <class Source, class Word, class Put>
  PHIGGUF_INLINE static void unpack(const Source& block, ScaleWords<Q4_K, Word>& fields, const Put& put) {
    unpack_6bit_head(block, fields);
    unpack_nibble_runs<Word>(block, offsetof(Block, low), put);
  }
  static void pack(const Fields<Q4_K>& fields, Block& block) {
    block.scale = fields.scale;
    block.min = fields.min;
    pack_6bit_pairs(fields.sub_scale, fields.sub_min, block.sub_scales);
    pack_nibble_runs(fields.code, block.low);
  }
};

PHIGGUF_END_ISA
