// Q4_0: 32 weights, one float16 scale, 4-bit codes around 8.
#pragma once

#include "formats/format.h"
#include "kernels/quantize_simple.h"

PHIGGUF_BEGIN_ISA

struct Q4_0 {
  using Block = BlockQ4_0;
  static constexpr int kWidth = 32, kSubWidth = 32, kZeroPoint = 8, kCodeBits = 4;
  static constexpr Min kMin = Min::kNone;
  using Quantizer = SignedQuantizer<Q4_0, 8>;

  template <class Source, class Word, class Put>
  PHIGGUF_INLINE static void unpack(const Source& block, ScaleWords<Q4_0, Word>& fields, const Put& put) {
    Word head[4];
    block.quad(offsetof(Block, scale), head);
    fields.scale = low_half(head[0]);
    fields.min = repeat<Word>(0);
    unpack_nibbles<Word>(block, offsetof(Block, low), put);
  }
  static void pack(const Fields<Q4_0>& fields, Block& block) {
    block.scale = fields.scale;
    pack_nibbles(fields.code, block.low);
  }
};

PHIGGUF_END_ISA
