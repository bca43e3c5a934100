// Q6_K: 256 weights in 16 sub-blocks with signed byte scales; 6-bit codes around 32, low nibbles and top pairs apart.
#pragma once

#include "formats/format.h"
#include "kernels/quantize_signed.h"

PHIGGUF_BEGIN_ISA

struct Q6_K {
  using Block = BlockQ6_K;
  static constexpr int kWidth = 256, kSubWidth = 16, kZeroPoint = 32, kCodeBits = 6;
  static constexpr int kLargestSubScale = 128;
  static constexpr Min kMin = Min::kNone;
  using Quantizer = SixBitQuantizer<Q6_K>;

  template <class Source, class Word, class Put>
  PHIGGUF_INLINE static void unpack(const Source& block, ScaleWords<Q6_K, Word>& fields, const Put& put) {
    Word end[4];
    block.quad(sizeof(Block) - 16, end);
    fields.scale = high_half(end[3]);
    fields.min = repeat<Word>(0);
    block.quad(offsetof(Block, sub_scales), fields.sub_scale);
    unroll<4>([&](auto part) PHIGGUF_INLINE {  // 16 bytes of each run of a half
      constexpr int kHalf = part / 2, kAt = 16 * (part % 2);
      Word low[4], next_low[4], high[4];
      block.quad(offsetof(Block, low) + 64 * kHalf + kAt, low);
      block.quad(offsetof(Block, low) + 64 * kHalf + kAt + 32, next_low);
      block.quad(offsetof(Block, high) + 32 * kHalf + kAt, high);
      unroll<4>([&](auto run) PHIGGUF_INLINE {
        Word four[4];
        for (int i = 0; i < 4; ++i) {
          const Word top = run < 2 ? bits_of_bytes(high[i], 2 * run, 3) << 4 : bits_of_bytes(high[i], 2 * run - 4, 48);
          four[i] = bits_of_bytes(run % 2 == 0 ? low[i] : next_low[i], 4 * (run / 2), 15) | top;
        }
        put(Index<32 * kHalf + kAt / 4 + 8 * run>(), four);
      });
    });
  }
  static void pack(const Fields<Q6_K>& fields, Block& block) {
    block.scale = fields.scale;
    for (int i = 0; i < 16; ++i) block.sub_scales[i] = fields.sub_scale[i];
    for (int half = 0; half < 2; ++half) {
      const uint8_t* code = fields.code + 128 * half;
      uint8_t* low = block.low + 64 * half;
      uint8_t* high = block.high + 32 * half;
      for (int i = 0; i < 32; ++i) {
        low[i] = static_cast<uint8_t>((code[i] & 15) | (code[64 + i] & 15) << 4);
        low[32 + i] = static_cast<uint8_t>((code[32 + i] & 15) | (code[96 + i] & 15) << 4);
        high[i] = static_cast<uint8_t>(((code[i] >> 4) & 3) | ((code[32 + i] >> 4) & 3) << 2 |
                                       ((code[64 + i] >> 4) & 3) << 4 | ((code[96 + i] >> 4) & 3) << 6);
      }
    }
  }
};

PHIGGUF_END_ISA
