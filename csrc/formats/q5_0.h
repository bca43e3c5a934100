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

  template <class Source, class Word>
  static void unpack(const Source& block, FieldWords<Q5_0, Word>& fields) {
    Word head[4];
    block.quad(offsetof(Block, scale), head);
    fields.scale = low_half(head[0]);
    fields.min = repeat<Word>(0);
    unpack_nibbles(block, offsetof(Block, low), fields.code);
    unpack_fifth_bits(middle(head[0], head[1]), fields.code);
  }
  static void pack(const Fields<Q5_0>& fields, Block& block) {
    block.scale = fields.scale;
    pack_nibbles(fields.code, block.low);
    pack_fifth_bits(fields.code, block.high);
  }
};

PHIGGUF_END_ISA
