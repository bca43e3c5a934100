// Q8_0: 32 weights, one float16 scale, signed bytes, seen by the kernels as codes around 128.
#pragma once

#include "formats/format.h"
#include "kernels/quantize_simple.h"

PHIGGUF_BEGIN_ISA

struct Q8_0 {
  using Block = BlockQ8_0;
  static constexpr int kWidth = 32, kSubWidth = 32, kZeroPoint = 128;
  static constexpr Min kMin = Min::kNone;
  using Quantizer = ByteQuantizer<Q8_0>;

  static void unpack(const Block& block, Fields<Q8_0>& fields) {
    fields.scale = block.scale;
    fields.min = 0;
    fields.sub_scale[0] = 1;
    fields.sub_min[0] = 0;
    for (int i = 0; i < 32; ++i) fields.code[i] = static_cast<uint8_t>(block.code[i]) ^ 128;
  }
  static void pack(const Fields<Q8_0>& fields, Block& block) {
    block.scale = fields.scale;
    for (int i = 0; i < 32; ++i) block.code[i] = static_cast<int8_t>(fields.code[i] ^ 128);
  }
};

PHIGGUF_END_ISA
