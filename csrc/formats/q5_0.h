// Q5_0: 32 weights, one float16 scale, 5-bit codes around 16.
#pragma once

#include "formats/format.h"
#include "kernels/quantize_simple.h"

PHIGGUF_BEGIN_ISA

struct Q5_0 {
  using Block = BlockQ5_0;
  static constexpr int kWidth = 32, kSubWidth = 32, kZeroPoint = 16, kCodeBits = 5;
  static constexpr Min kMin = Min::kNone;
  using Quantizer = SignedQuantizer<Q5_0, 16>;

  template <class Source, class Word, class Put>
  PHIGGUF_INLINE static void unpack(const Source& block, ScaleWords<Q5_0, Word>& fields, const Put& put) {
    Word head[4];
    block.quad(offsetof(Block, scale), head);
    fields.scale = low_half(head[0]);
    fields.min = repeat<Word>(0);
    const Word high = middle(head[0], head[1]);
    unpack_nibbles<Word>(block, offsetof(Block, low), [&](auto q, Word(&four)[4]) PHIGGUF_INLINE {
      add_fifth_bits(high, q, four);
      put(q, four);
    });
  }
  static void pack(const Fields<Q5_0>& fields, Block& block) {
    block.scale = fields.scale;
    pack_nibbles(fields.code, block.low);
    pack_fifth_bits(fields.code, block.high);
  }
};

PHIGGUF_END_ISA
