// Q4_1: 32 weights, float16 scale and minimum, 4-bit codes.
#pragma once

#include "formats/format.h"
#include "kernels/quantize_simple.h"

PHIGGUF_BEGIN_ISA

struct Q4_1 {
  using Block = BlockQ4_1;
  static constexpr int kWidth = 32, kSubWidth = 32, kZeroPoint = 0, kCodeBits = 4;
  static constexpr Min kMin = Min::kAdded;
  using Quantizer = RangeQuantizer<Q4_1, 15>;

  template <class Source, class Word, class Put>
  PHIGGUF_INLINE static void unpack(const Source& block, ScaleWords<Q4_1, Word>& fields, const Put& put) {
    Word head[4];
    block.quad(offsetof(Block, scale), head);
    fields.scale = low_half(head[0]);
    fields.min = high_half(head[0]);
    unpack_nibbles<Word>(block, offsetof(Block, low), put);
  }
  static void pack(const Fields<Q4_1>& fields, Block& block) {
    block.scale = fields.scale;
    block.min = fields.min;
    pack_nibbles(fields.code, block.low);
  }
};

PHIGGUF_END_ISA
