// Q4_1: 32 weights, float16 scale and minimum, 4-bit codes.
#pragma once

#include "formats/format.h"
#include "kernels/quantize_simple.h"

PHIGGUF_BEGIN_ISA

struct Q4_1 {
  using Block = BlockQ4_1;
  static constexpr int kWidth = 32, kSubWidth = 32, kZeroPoint = 0;
  static constexpr Min kMin = Min::kAdded;
  using Quantizer = RangeQuantizer<Q4_1, 15>;

  static void unpack(const Block& block, Fields<Q4_1>& fields) {
    fields.scale = block.scale;
    fields.min = block.min;
    fields.sub_scale[0] = 1;
    fields.sub_min[0] = 1;
    unpack_nibbles(block.low, fields.code);
  }
  static void pack(const Fields<Q4_1>& fields, Block& block) {
    block.scale = fields.scale;
    block.min = fields.min;
    pack_nibbles(fields.code, block.low);
  }
};

PHIGGUF_END_ISA
