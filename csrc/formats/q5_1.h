// Q5_1: 32 weights, float16 scale and minimum, 5-bit codes.
#pragma once

#include "formats/format.h"
#include "kernels/quantize_simple.h"

PHIGGUF_BEGIN_ISA

struct Q5_1 {
  using Block = BlockQ5_1;
  static constexpr int kWidth = 32, kSubWidth = 32, kZeroPoint = 0, kCodeBits = 5;
  static constexpr Min kMin = Min::kAdded;
  using Quantizer = RangeQuantizer<Q5_1, 31>;

  template <class Source, class Word, class Put>
  PHIGGUF_INLINE static void unpack(const Source& block, ScaleWords<Q5_1, Word>& fields, const Put& put) {
    Word head[4];
    block.quad(offsetof(Block, scale), head);
    fields.scale = low_half(head[0]);
    fields.min = high_half(head[0]);
    const Word high = head[1];
    unpack_nibbles<Word>(block, offsetof(Block, low), [&](auto q, Word(&four)[4]) PHIGGUF_INLINE {
      add_fifth_bits(high, q, four);
      put(q, four);
    });
  }
  static void pack(const Fields<Q5_1>& fields, Block& block) {
    block.scale = fields.scale;
    block.min = fields.min;
    pack_nibbles(fields.code, block.low);
    pack_fifth_bits(fields.code, block.high);
  }
};

PHIGGUF_END_ISA
