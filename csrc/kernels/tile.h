// kPairLanes blocks side by side: what a quantizer reads (`Tile`) and what it decides (`LaneFields`).
#pragma once

#include <type_traits>

#include "formats/format.h"
#include "kernels/row_fetcher.h"
#include "simd/pair.h"

PHIGGUF_BEGIN_ISA

// When a format's scales are searched for: never, with an importance matrix only (which then enters together with the
// mean square of the row), or always.
enum class Searches { kNever, kWhenGuided, kAlways };

template <class Format>
struct Tile {
  // Each candidate for a scale and a minimum waits for the one before it, so the searches of two blocks take turns; a
  // wider format has sub-blocks for that.
  static constexpr int kBlocks = Format::kWidth == 32 && Format::kMin != Min::kNone ? 2 : 1;
  static constexpr int kWeights = kBlocks * Format::kWidth;

  f32w x[kWeights];               // x[i]: weight i of each lane
  f32w importance[kWeights];      // meaningful with an importance matrix only
  f32w row_mean_square[kBlocks];  // of the whole rows that blocks lie in; 32-wide formats with importance only

  // Asks for a part of what is read after this tile: a wide tile's lines lie far apart, and are loaded in one go.
  void fetch_next() const { next.step(); }
  mutable RowFetcher next;
};

// No block format reaches 2^30: a scale is at most 65504, times a sub-scale of 128, times a code of 32. ggml's sums
// overflow long after that, and would then turn a block to zeros without a word.
constexpr float kUnreachable = 0x1p30f;

template <class Format>
struct LaneFields {
  static constexpr int kSubBlocks = Fields<Format>::kSubBlocks;
  i32w scale;  // float16 bits
  i32w min;    // float16 bits
  i32w sub_scale[kSubBlocks];
  i32w sub_min[kSubBlocks];
  i32w codes[Format::kWidth / 4];  // weights 4 i .. 4 i + 3 of each lane in the bytes of element i

  // To be called for i = 0, 1, 2 ... in order, with codes in 0..255.
  void put_code(int i, i32w code) {
    i32w& four = codes[i / 4];
    four = i % 4 == 0 ? code : four | (code << (8 * (i % 4)));
  }

  // Codes i .. i + 3, i being a multiple of 4, as the low bits of kRounder + code: all bits are added, and those of the
  // four kRounders subtracted.
  void put_four(int i, const f32w (&sums)[4]) {
    constexpr uint32_t kExcess = kRounderBits + (kRounderBits << 8) + (kRounderBits << 16) + (kRounderBits << 24);
    i32w four = as_bits(sums[0]) - set(static_cast<int32_t>(kExcess));
    for (int b = 1; b < 4; ++b) four = four + (as_bits(sums[b]) << (8 * b));
    codes[i / 4] = four;
  }
};

// x[i] of every lane, from one pointer per lane. Words as they lie in memory are half transposed by how they are
// loaded.
template <int Width, class Element>
inline void load_columns(const Element* const (&lane)[kPairLanes], f32w* x) {
  if constexpr (std::is_same_v<Element, float>) {
    const auto load_four = [&](const float* const* rows, int i, i32v(&four)[4]) {
      load_quads([&](size_t l) { return reinterpret_cast<const uint8_t*>(rows[l] + i); }, four);
    };
    for (int i = 0; i < Width; i += 4) {
      i32v first[4], second[4];
      load_four(lane, i, first);
      load_four(lane + kLanes, i, second);
      for (int k = 0; k < 4; ++k) x[i + k] = {as_floats(first[k]), as_floats(second[k])};
    }
  } else {
    for (int i = 0; i < Width; i += kLanes) {
      f32v first[kLanes], second[kLanes];
      for (int l = 0; l < kLanes; ++l) {
        first[l] = load(lane[l] + i);
        second[l] = load(lane[kLanes + l] + i);
      }
      transpose(first);
      transpose(second);
      for (int l = 0; l < kLanes; ++l) x[i + l] = {first[l], second[l]};
    }
  }
}

// The quantizer's lanes, each as the fields of one block.
template <class Format>
class LaneReader {
 public:
  explicit LaneReader(const LaneFields<Format>& tile) {
    store(scale_, tile.scale);
    store(min_, tile.min);
    transpose(tile.codes, codes_);
    if constexpr (kSubWords > 0) {
      i32w words[2 * kSubWords];
      for (int i = 0; i < kSubWords; ++i) {
        words[i] = low_bytes(tile.sub_scale + 4 * i);
        words[kSubWords + i] = Format::kMin == Min::kNone ? i32w(set(0)) : low_bytes(tile.sub_min + 4 * i);
      }
      transpose(words, sub_words_);
    }
  }

  void read(size_t lane, Fields<Format>& fields) const {
    fields.scale = static_cast<uint16_t>(scale_[lane]);
    fields.min = static_cast<uint16_t>(min_[lane]);
    std::memcpy(fields.code, codes_.lane[lane], sizeof fields.code);
    if constexpr (kSubWords > 0) {
      std::memcpy(fields.sub_scale, sub_words_.lane[lane], sizeof fields.sub_scale);
      std::memcpy(fields.sub_min, sub_words_.lane[lane] + kSubWords, sizeof fields.sub_min);
    }
  }

 private:
  static constexpr int kSubWords = LaneFields<Format>::kSubBlocks / 4;

  // The words of each lane side by side.
  template <int kWords>
  struct Words {
    static constexpr int kRoom = (kWords + kLanes - 1) / kLanes * kLanes;
    alignas(64) int32_t lane[kPairLanes][kRoom];
  };

  template <int kWords>
  static void transpose(const i32w (&words)[kWords], Words<kWords>& turned) {
    for (int i = 0; i < kWords; i += kLanes) {
      f32v first[kLanes], second[kLanes];
      for (int l = 0; l < kLanes; ++l) {
        const i32w word = i + l < kWords ? words[i + l] : i32w(set(0));
        first[l] = as_floats(word.a);
        second[l] = as_floats(word.b);
      }
      PHIGGUF_ISA::transpose(first);
      PHIGGUF_ISA::transpose(second);
      for (int l = 0; l < kLanes; ++l) {
        store(&turned.lane[l][i], as_bits(first[l]));
        store(&turned.lane[kLanes + l][i], as_bits(second[l]));
      }
    }
  }

  static i32w low_bytes(const i32w* four) {
    i32w word = four[0] & set(255);
    for (int b = 1; b < 4; ++b) word = word | ((four[b] & set(255)) << (8 * b));
    return word;
  }

  int32_t scale_[kPairLanes], min_[kPairLanes];
  Words<Format::kWidth / 4> codes_;
  Words<2 * kSubWords + (kSubWords == 0)> sub_words_;
};

PHIGGUF_END_ISA
