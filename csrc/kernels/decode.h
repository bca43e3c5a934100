// Blocks to floats, in ggml's operations and order: scale * sub_scale, times the code, minus the minimum.
#pragma once

#include "formats/format.h"

PHIGGUF_BEGIN_ISA

// The float scale and minimum of sub-block j, so that a weight is scale * (code - zero point) - min.
template <class Format>
inline float sub_block_scale(const Fields<Format>& fields, int j) {
  return to_float(float16{fields.scale}) * static_cast<float>(fields.sub_scale[j]);
}
template <class Format>
inline float sub_block_min(const Fields<Format>& fields, int j) {
  const float min = to_float(float16{fields.min}) * static_cast<float>(fields.sub_min[j]);
  return Format::kMin == Min::kAdded ? -min : min;
}

template <class Format>
inline void decode_block(const typename Format::Block& block, float* out) {
  Fields<Format> fields;
  unpack_block<Format>(block, fields);
  for (int j = 0; j < fields.kSubBlocks; ++j) {
    const float scale = sub_block_scale<Format>(fields, j);
    const float min = sub_block_min<Format>(fields, j);
    const uint8_t* code = fields.code + Format::kSubWidth * j;
    float* weight = out + Format::kSubWidth * j;
    for (int i = 0; i < Format::kSubWidth; ++i) {
      const float product = scale * static_cast<float>(code[i] - Format::kZeroPoint);
      weight[i] = Format::kMin == Min::kNone ? product : product - min;
    }
  }
}

template <class Format>
inline void decode_blocks(const uint8_t* blocks, size_t n_blocks, float* out) {
  const auto* block = reinterpret_cast<const typename Format::Block*>(blocks);
  for (size_t b = 0; b < n_blocks; ++b) decode_block<Format>(block[b], out + b * Format::kWidth);
}

template <class Element>
inline void decode_floats(const uint8_t* bytes, size_t n, float* out) {
  const auto* source = reinterpret_cast<const Element*>(bytes);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, load(source + i));
  for (; i < n; ++i) out[i] = to_float(source[i]);
}

PHIGGUF_END_ISA
