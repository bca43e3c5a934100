// Q6_K: 256 weights in 16 sub-blocks with signed byte scales; 6-bit codes around 32, low nibbles and top pairs apart.
#pragma once

#include "formats/format.h"
#include "kernels/quantize_signed.h"

PHIGGUF_BEGIN_ISA

struct Q6_K {
  using Block = BlockQ6_K;
  static constexpr int kWidth = 256, kSubWidth = 16, kZeroPoint = 32;
  static constexpr Min kMin = Min::kNone;
  using Quantizer = SixBitQuantizer<Q6_K>;

  static void unpack(const Block& block, Fields<Q6_K>& fields) {
    fields.scale = block.scale;
    fields.min = 0;
    for (int i = 0; i < 16; ++i) {
      fields.sub_scale[i] = block.sub_scales[i];
      fields.sub_min[i] = 0;
    }
    for (int half = 0; half < 2; ++half) {
      const uint8_t* low = block.low + 64 * half;
      const uint8_t* high = block.high + 32 * half;
      uint8_t* code = fields.code + 128 * half;
      for (int i = 0; i < 32; ++i) {
        code[i] = static_cast<uint8_t>((low[i] & 15) | (high[i] & 3) << 4);
        code[32 + i] = static_cast<uint8_t>((low[32 + i] & 15) | ((high[i] >> 2) & 3) << 4);
        code[64 + i] = static_cast<uint8_t>((low[i] >> 4) | ((high[i] >> 4) & 3) << 4);
        code[96 + i] = static_cast<uint8_t>((low[32 + i] >> 4) | (high[i] >> 6) << 4);
      }
    }
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
