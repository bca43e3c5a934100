// Q8_0: 32 weights, one float16 scale, signed bytes, seen by the kernels as codes around 128.
#pragma once

#include "formats/format.h"
#include "kernels/quantize_simple.h"

PHIGGUF_BEGIN_ISA

struct Q8_0 {
  using Block = BlockQ8_0;
  static constexpr int kWidth = 32, kSubWidth = 32, kZeroPoint = 128, kCodeBits = 8;
  static constexpr Min kMin = Min::kNone;
  using Quantizer = ByteQuantizer<Q8_0>;

  template <class Source, class Word, class Put>
  PHIGGUF_INLINE static void unpack(const Source& block, ScaleWords<Q8_0, Word>& fields, const Put& put) {
    Word words[4];
    block.quad(offsetof(Block, scale), words);
    fields.scale = low_half(words[0]);
    fields.min = repeat<Word>(0);
    unroll<2>([&](auto quad) PHIGGUF_INLINE {
      block.quad(offsetof(Block, code) + 16 * static_cast<size_t>(quad), words);
      for (Word& word : words) word = word ^ repeat<Word>(0x80808080u);
      put(Index<4 * quad>(), words);
    });
  }
  static void pack(const Fields<Q8_0>& fields, Block& block) {
    block.scale = fields.scale;
    for (int i = 0; i < 32; ++i) block.code[i] = static_cast<int8_t>(fields.code[i] ^ 128);
  }
};

PHIGGUF_END_ISA
