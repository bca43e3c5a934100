// Q5_0: 32 weights, one float16 scale, 5-bit codes around 16.
#pragma once

#include "formats/format.h"
#include "kernels/quantize_simple.h"

PHIGGUF_BEGIN_ISA

struct Q5_0 {
  using Block = BlockQ5_0;
  static constexpr int kWidth = 32, kSubWidth = 32, kZeroPoint = 16;
  static constexpr Min kMin = Min::kNone;
  using Quantizer = SignedQuantizer<Q5_0, 16>;

  static void unpack(const Block& block, Fields<Q5_0>& fields) {
    fields.scale = block.scale;
    fields.min = 0;
    fields.sub_scale[0] = 1;
    fields.sub_min[0] = 0;
    unpack_nibbles(block.low, fields.code);
    unpack_fifth_bits(block.high, fields.code);
  }
  static void pack(const Fields<Q5_0>& fields, Block& block) {
    block.scale = fields.scale;
    pack_nibbles(fields.code, block.low);
    pack_fifth_bits(fields.code, block.high);
  }
};

PHIGGUF_END_ISA
