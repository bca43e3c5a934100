// Q5_1: 32 weights, float16 scale and minimum, 5-bit codes.
#pragma once

#include "formats/format.h"
#include "kernels/quantize_simple.h"

PHIGGUF_BEGIN_ISA

struct Q5_1 {
  using Block = BlockQ5_1;
  static constexpr int kWidth = 32, kSubWidth = 32, kZeroPoint = 0;
  static constexpr Min kMin = Min::kAdded;
  using Quantizer = RangeQuantizer<Q5_1, 31>;

  static void unpack(const Block& block, Fields<Q5_1>& fields) {
    fields.scale = block.scale;
    fields.min = block.min;
    fields.sub_scale[0] = 1;
    fields.sub_min[0] = 1;
    unpack_nibbles(block.low, fields.code);
    unpack_fifth_bits(block.high, fields.code);
  }
  static void pack(const Fields<Q5_1>& fields, Block& block) {
    block.scale = fields.scale;
    block.min = fields.min;
    pack_nibbles(fields.code, block.low);
    pack_fifth_bits(fields.code, block.high);
  }
};

PHIGGUF_END_ISA
