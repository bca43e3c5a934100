// Q5_K: Q4_K's layout with a fifth bit for every code, run r of 32 weights in bit r of 32 further bytes.
#pragma once

#include "formats/format.h"
#include "kernels/quantize_scale_min.h"

PHIGGUF_BEGIN_ISA

struct Q5_K {
  using Block = BlockQ5_K;
  static constexpr int kWidth = 256, kSubWidth = 32, kZeroPoint = 0;
  static constexpr Min kMin = Min::kSubtracted;
  using Quantizer = ScaleMinQuantizer<Q5_K, 31, 63>;
  static constexpr ScaleMinSearch kSearch{-0.5f, 0.1f, 15};

  static void unpack(const Block& block, Fields<Q5_K>& fields) {
    fields.scale = block.scale;
    fields.min = block.min;
    unpack_6bit_pairs(block.sub_scales, fields.sub_scale, fields.sub_min);
    unpack_nibble_runs(block.low, fields.code);
    for (int run = 0; run < 8; ++run) {
      for (int i = 0; i < 32; ++i) {
        uint8_t& code = fields.code[32 * run + i];
        code = static_cast<uint8_t>(code | ((block.high[i] >> run) & 1) << 4);
      }
    }
  }
  static void pack(const Fields<Q5_K>& fields, Block& block) {
    block.scale = fields.scale;
    block.min = fields.min;
    pack_6bit_pairs(fields.sub_scale, fields.sub_min, block.sub_scales);
    pack_nibble_runs(fields.code, block.low);
    for (int i = 0; i < 32; ++i) {
      unsigned bits = 0;
      for (int run = 0; run < 8; ++run) bits |= ((fields.code[32 * run + i] >> 4) & 1u) << run;
      block.high[i] = static_cast<uint8_t>(bits);
    }
  }
};

PHIGGUF_END_ISA
