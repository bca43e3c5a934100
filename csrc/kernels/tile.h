// kLanes blocks side by side: what a quantizer reads (`Tile`) and what it decides (`LaneFields`).
#pragma once

#include "formats/format.h"

PHIGGUF_BEGIN_ISA

template <class Format>
struct Tile {
  f32v x[Format::kWidth];           // x[i]: weight i of each lane's block
  f32v importance[Format::kWidth];  // meaningful with an importance matrix only
  f32v row_mean_square;             // of the whole row each lane lies in; 32-wide formats with importance only
};

template <class Format>
struct LaneFields {
  static constexpr int kSubBlocks = Fields<Format>::kSubBlocks;
  i32v scale;  // float16 bits
  i32v min;    // float16 bits
  i32v sub_scale[kSubBlocks];
  i32v sub_min[kSubBlocks];
  uint8_t code[Format::kWidth][kLanes];
};

// x[i] of every lane, from one pointer per lane.
template <int Width, class Element>
inline void load_columns(const Element* const (&lane)[kLanes], f32v* x) {
  for (int i = 0; i < Width; i += kLanes) {
    f32v square[kLanes];
    for (int l = 0; l < kLanes; ++l) square[l] = load(lane[l] + i);
    transpose(square);
    for (int l = 0; l < kLanes; ++l) x[i + l] = square[l];
  }
}

template <class Format>
inline void extract_lane(const LaneFields<Format>& tile, int lane, Fields<Format>& fields) {
  const auto value = [lane](const i32v& v) {
    int32_t lanes[kLanes];
    store(lanes, v);
    return lanes[lane];
  };
  fields.scale = static_cast<uint16_t>(value(tile.scale));
  fields.min = static_cast<uint16_t>(value(tile.min));
  for (int i = 0; i < tile.kSubBlocks; ++i) {
    fields.sub_scale[i] = static_cast<int8_t>(value(tile.sub_scale[i]));
    fields.sub_min[i] = static_cast<uint8_t>(value(tile.sub_min[i]));
  }
  for (int i = 0; i < Format::kWidth; ++i) fields.code[i] = tile.code[i][lane];
}

PHIGGUF_END_ISA
