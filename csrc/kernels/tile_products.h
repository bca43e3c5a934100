// Products in tiles: those of kTileTokens tokens and kLanes rows at once, where an ISA sums them over a whole block.
//
// So that one sum serves all sub-blocks, their scales go into the codes: sub_scale * (code - zero point) takes up to 14
// bits, and is 128 * high + low, two bytes whose sums are put together at the end.
#pragma once

#include "kernels/row_blocks.h"

PHIGGUF_BEGIN_ISA

template <class Format>
class TileProducts {
  using P = Product<Format>;

  static constexpr int parts_of_code() {
    if constexpr (P::kPairs) {
      return Format::kLargestSubScale * P::kLargest > 127 ? 2 : 1;
    } else {
      return 1;
    }
  }
  static constexpr int kParts = parts_of_code();

 public:
  static constexpr size_t kTokensAtOnce = 256;
  static constexpr int kBytes = Format::kWidth < 64 ? Format::kWidth : 64;  // of a token, in a tile
  using Tiles = SumTiles<kBytes, kParts>;                                   // one has to live while products are added

  explicit TileProducts(const RowBlocks<Format> (&rows)[kRowVectors]) : rows_(rows) {
    for (int r = 0; r < kRowVectors; ++r) {
      for (int j = 0; j < P::kSubBlocks; ++j) set_codes(r, j);
    }
  }

  // Adds block `block` of tokens first .. first + n - 1. Tiles multiply while the sums before theirs are scaled, both
  // bit by bit, so that the processor sees enough of either to do them side by side.
  void add_to(f32v* acc, const Activations& activations, size_t block, size_t first, size_t n) const {
    constexpr size_t kSteps = 4 * P::kWords / kBytes, kTokensOfStep = kTileTokens / kSteps;
    const auto group = [&](size_t t) {
      return Group{TokenBlocks<Format>(activations, block, first + t), acc + kRowVectors * t};
    };
    Sums sums;
    for (size_t t = 0; t < n; t += kTileTokens) {
      const Group now = group(t), before = group(t > 0 ? t - kTileTokens : 0);
      Tiles::zero();
      for (size_t step = 0; step < kSteps; ++step) {
        Tiles::add_products(now.x.codes, Format::kWidth, codes_, static_cast<int>(step) * kBytes / 4);
        fetch(now.x.codes + Format::kWidth * kTileTokens + kBytes * step);
        if (t > 0) scale(sums, before, kTokensOfStep * step, kTokensOfStep * (step + 1));
      }
      Tiles::store(sums);
    }
    const size_t last = (n - 1) / kTileTokens * kTileTokens;
    scale(sums, group(last), 0, n - last);
  }

 private:
  using Sums = i32v[kRowVectors][kParts][kTileTokens];
  struct Group {
    TokenBlocks<Format> x;
    f32v* acc;
  };

  // The same bytes of the tokens after these.
  static void fetch(const int8_t* codes) {
    for (size_t t = 0; t < kTileTokens; ++t) __builtin_prefetch(codes + Format::kWidth * t);
  }

  void scale(const Sums& sums, const Group& group, size_t begin, size_t end) const {
    for (int t = static_cast<int>(begin); t < static_cast<int>(end); ++t) {
      for (int r = 0; r < kRowVectors; ++r) {
        f32v& out = group.acc[kRowVectors * t + r];
        out = rows_[r].scales.add_to(out, total(sums[r], t), group.x, t);
      }
    }
  }

  static i32v total(const i32v (&sums)[kParts][kTileTokens], int token) {
    if constexpr (kParts == 2) {
      return (sums[1][token] << 7) + sums[0][token];
    } else {
      return sums[0][token];
    }
  }

  void set_codes(int r, int sub_block) {
    const auto& rows = rows_[r];
    for (int q = P::kSubWords * sub_block; q < P::kSubWords * (sub_block + 1); ++q) {
      if constexpr (P::kPairs) {
        const i32v scale = spread_bytes(rows.words.sub_scale[sub_block / 4], sub_block % 4, sub_block % 4);
        i32v high, low;
        scale_bytes(rows.code[q], Format::kZeroPoint, scale, high, low);
        codes_[r][0][q] = low;
        if constexpr (kParts == 2) codes_[r][1][q] = high;
      } else {
        codes_[r][0][q] = subtract_from_bytes(rows.code[q], Format::kZeroPoint);
      }
    }
  }

  const RowBlocks<Format> (&rows_)[kRowVectors];
  i32v codes_[kRowVectors][kParts][P::kWords];
};

PHIGGUF_END_ISA
