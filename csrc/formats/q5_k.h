// Q5_K: Q4_K's layout with a fifth bit for every code, run r of 32 weights in bit r of 32 further bytes.
#pragma once

#include "formats/format.h"
#include "kernels/quantize_scale_min.h"

PHIGGUF_BEGIN_ISA

struct Q5_K {
  using Block = BlockQ5_K;
  static constexpr int kWidth = 256, kSubWidth = 32, kZeroPoint = 0, kCodeBits = 5;
  static constexpr int kLargestSubScale = 63;
  static constexpr Min kMin = Min::kSubtracted;
  using Quantizer = ScaleMinQuantizer<Q5_K, 31, 63>;
  static constexpr ScaleMinSearch kSearch{-0.5f, 0.1f, 15};

  template <class Source, class Word, class Put>
  PHIGGUF_INLINE static void unpack(const Source& block, ScaleWords<Q5_K, Word>& fields, const Put& put) {
    unpack_6bit_head(block, fields);
    const RunBits<Word> high_bits(block, offsetof(Block, high));
    unpack_nibble_runs<Word>(block, offsetof(Block, low), [&](auto q, Word(&four)[4]) PHIGGUF_INLINE {
      high_bits.add_to(q, 4, four);
      put(q, four);
    });
  }
  static void pack(const Fields<Q5_K>& fields, Block& block) {
    block.scale = fields.scale;
    block.min = fields.min;
    pack_6bit_pairs(fields.sub_scale, fields.sub_min, block.sub_scales);
    pack_nibble_runs(fields.code, block.low);
    pack_run_bits(fields.code, 4, block.high);
  }
};

PHIGGUF_END_ISA
