// Q4_0: 32 weights, one float16 scale, 4-bit codes around 8.
#pragma once

#include "formats/format.h"
#include "kernels/quantize_simple.h"

PHIGGUF_BEGIN_ISA

struct Q4_0 {
  using Block = BlockQ4_0;
  static constexpr int kWidth = 32, kSubWidth = 32, kZeroPoint = 8;
  static constexpr Min kMin = Min::kNone;
  using Quantizer = SignedQuantizer<Q4_0, 8>;

  static void unpack(const Block& block, Fields<Q4_0>& fields) {
    fields.scale = block.scale;
    fields.min = 0;
    fields.sub_scale[0] = 1;
    fields.sub_min[0] = 0;
    unpack_nibbles(block.low, fields.code);
  }
  static void pack(const Fields<Q4_0>& fields, Block& block) {
    block.scale = fields.scale;
    pack_nibbles(fields.code, block.low);
  }
};

PHIGGUF_END_ISA
