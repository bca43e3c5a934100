// Q2_K: 256 weights in 16 sub-blocks, each with a 4-bit scale and a 4-bit minimum; 2-bit codes.
#pragma once

#include "formats/format.h"
#include "kernels/quantize_scale_min.h"

PHIGGUF_BEGIN_ISA

struct Q2_K {
  using Block = BlockQ2_K;
  static constexpr int kWidth = 256, kSubWidth = 16, kZeroPoint = 0;
  static constexpr Min kMin = Min::kSubtracted;
  using Quantizer = ScaleMinQuantizer<Q2_K, 3, 15>;
  static constexpr ScaleMinSearch kSearch{-0.5f, 0.1f, 15};

  static void unpack(const Block& block, Fields<Q2_K>& fields) {
    fields.scale = block.scale;
    fields.min = block.min;
    for (int i = 0; i < 16; ++i) {
      fields.sub_scale[i] = block.sub_scales[i] & 15;
      fields.sub_min[i] = block.sub_scales[i] >> 4;
    }
    unpack_pairs(block.low, fields.code);
  }
  static void pack(const Fields<Q2_K>& fields, Block& block) {
    block.scale = fields.scale;
    block.min = fields.min;
    for (int i = 0; i < 16; ++i) {
      block.sub_scales[i] = static_cast<uint8_t>((fields.sub_scale[i] & 15) | fields.sub_min[i] << 4);
    }
    pack_pairs(fields.code, block.low);
  }
};

PHIGGUF_END_ISA
