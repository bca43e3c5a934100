// Q3_K: 256 weights in 16 sub-blocks with signed 6-bit scales; 3-bit codes around 4, their top bits kept apart.
#pragma once

#include "formats/format.h"
#include "kernels/quantize_signed.h"

PHIGGUF_BEGIN_ISA

struct Q3_K {
  using Block = BlockQ3_K;
  static constexpr int kWidth = 256, kSubWidth = 16, kZeroPoint = 4;
  static constexpr Min kMin = Min::kNone;
  using Quantizer = ThreeBitQuantizer<Q3_K>;

  static void unpack(const Block& block, Fields<Q3_K>& fields) {
    fields.scale = block.scale;
    fields.min = 0;
    for (int i = 0; i < 16; ++i) {
      const int low = (block.sub_scales[i % 8] >> (4 * (i / 8))) & 15;
      const int high = (block.sub_scales[8 + i % 4] >> (2 * (i / 4))) & 3;
      fields.sub_scale[i] = static_cast<int8_t>((low | high << 4) - 32);
      fields.sub_min[i] = 0;
    }
    unpack_pairs(block.low, fields.code);
    for (int run = 0; run < 8; ++run) {
      for (int i = 0; i < 32; ++i) {
        uint8_t& code = fields.code[32 * run + i];
        code = static_cast<uint8_t>(code | ((block.high[i] >> run) & 1) << 2);
      }
    }
  }
  static void pack(const Fields<Q3_K>& fields, Block& block) {
    block.scale = fields.scale;
    for (uint8_t& byte : block.sub_scales) byte = 0;
    for (int i = 0; i < 16; ++i) {
      const int biased = fields.sub_scale[i] + 32;
      uint8_t& low = block.sub_scales[i % 8];
      uint8_t& high = block.sub_scales[8 + i % 4];
      low = static_cast<uint8_t>(low | (biased & 15) << (4 * (i / 8)));
      high = static_cast<uint8_t>(high | (biased >> 4) << (2 * (i / 4)));
    }
    pack_pairs(fields.code, block.low);
    for (int i = 0; i < 32; ++i) {
      unsigned bits = 0;
      for (int run = 0; run < 8; ++run) bits |= ((fields.code[32 * run + i] >> 2) & 1u) << run;
      block.high[i] = static_cast<uint8_t>(bits);
    }
  }
};

PHIGGUF_END_ISA
