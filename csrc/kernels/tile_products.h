// Products in tiles: those of kTileTokens tokens and kLanes rows at once, where an ISA sums them over a whole block.
//
// So that one sum serves all sub-blocks, their scales go into the codes: sub_scale * (code - zero point) takes up to 14
// bits, and is 128 * high + low, two bytes whose sums are put together at the end.
//
// Sums leave tiles through memory. Of narrow blocks, which have many, those of several are made before a token's chain
// goes through all of them in registers.
#pragma once

#include "kernels/register_tile.h"

PHIGGUF_BEGIN_ISA

template <class Format, int Blocks = Format::kWidth < 64 ? 4 : 1>
class TileProducts {
  using P = Product<Format>;
  using Rows = RowBlocks<Format>[Blocks][kRowVectors];

  static constexpr int parts_of_code() {
    if constexpr (P::kPairs) {
      return Format::kLargestSubScale * P::kLargest > 127 ? 2 : 1;
    } else {
      return 1;
    }
  }
  static constexpr int kParts = parts_of_code();

 public:
  static constexpr size_t kBlocks = Blocks, kTokens = kTileTokens;          // that are taken together
  static constexpr int kBytes = Format::kWidth < 64 ? Format::kWidth : 64;  // of a token, in a tile
  using Tiles = SumTiles<kBytes, kParts>;                                   // one has to live while products are added
  using OneByOne = TileProducts<Format, 1>;

  explicit TileProducts(const Rows& rows) : rows_(rows) {
    for (int b = 0; b < Blocks; ++b) {
      for (int r = 0; r < kRowVectors; ++r) {
        for (int j = 0; j < P::kSubBlocks; ++j) set_codes(b, r, j);
      }
    }
  }

  // Adds blocks `block` .. `block` + Blocks - 1 of tokens first .. first + n - 1. Tiles multiply while the sums of the
  // tokens before are scaled, both bit by bit, so that the processor sees enough of either to do them side by side.
  void add_to(f32v* acc, const Activations& activations, size_t block, size_t first, size_t n) const {
    constexpr size_t kBuffers = Blocks > 1 ? 2 : 1;  // of one block, sums are stored after all of the last are scaled
    Sums sums[kBuffers];
    const auto group = [&](size_t g) {
      const size_t t = kTileTokens * g;
      return Group{TokenBlocks<Format>(activations, block, first + t), activations.tokens, acc + kRowVectors * t,
                   sums[g % kBuffers]};
    };
    const size_t groups = (n + kTileTokens - 1) / kTileTokens;
    for (size_t g = 0; g <= groups; ++g) {
      const Group now = group(g), before = group(g > 0 ? g - 1 : 0);
      unroll<kSteps>([&](auto step) PHIGGUF_INLINE {
        if (g < groups) multiply(now, step);
        if (g > 0) scale(before, kTokensOfStep * step);
        if (g < groups && (step + 1) % kStepsOfBlock == 0) Tiles::store(now.sums[step / kStepsOfBlock]);
      });
    }
  }

 private:
  static constexpr int kStepsOfBlock = Format::kWidth / kBytes, kSteps = kStepsOfBlock * Blocks;
  static constexpr int kTokensOfStep = kTileTokens / kSteps;

  using Sums = i32v[Blocks][kRowVectors][kParts][kTileTokens];

  // kTileTokens tokens. Those behind the last are multiplied, too, and go nowhere.
  struct Group {
    TokenBlocks<Format> first_x;
    size_t tokens;  // in all, to the next block
    f32v* acc;
    Sums& sums;

    TokenBlocks<Format> x(int b) const { return first_x.after(static_cast<size_t>(b) * tokens); }
  };

  PHIGGUF_INLINE void multiply(const Group& group, int step) const {
    const int b = step / kStepsOfBlock, byte = step % kStepsOfBlock * kBytes;
    const int8_t* x = group.x(b).codes;
    if (byte == 0) Tiles::zero();
    Tiles::add_products(x, Format::kWidth, codes_[b], byte / 4);
    fetch(x + Format::kWidth * kTileTokens + byte);
  }

  // The same bytes of the tokens after these.
  static void fetch(const int8_t* codes) {
    constexpr size_t kCacheLine = 64;
    for (size_t i = 0; i < kTileTokens * kBytes; i += kCacheLine) __builtin_prefetch(codes + i * kStepsOfBlock);
  }

  // What has been summed for tokens first .. first + kTokensOfStep - 1 of a group.
  PHIGGUF_INLINE void scale(const Group& group, int first) const {
    f32v* acc = group.acc + kRowVectors * first;
    RegisterTile<f32v, kTokensOfStep> chains;
    chains.each([&](f32v& sum, int r, int t) PHIGGUF_INLINE { sum = acc[kRowVectors * t + r]; });
    for (int b = 0; b < Blocks; ++b) {
      const TokenBlocks<Format> x = group.x(b);
      chains.each([&](f32v& sum, int r, int t) PHIGGUF_INLINE {
        sum = rows_[b][r].scales.add_to(sum, total(group.sums[b][r], first + t), x, first + t);
      });
    }
    chains.each([&](f32v& sum, int r, int t) PHIGGUF_INLINE { acc[kRowVectors * t + r] = sum; });
  }

  static i32v total(const i32v (&sums)[kParts][kTileTokens], int token) {
    if constexpr (kParts == 2) {
      return (sums[1][token] << 7) + sums[0][token];
    } else {
      return sums[0][token];
    }
  }

  void set_codes(int b, int r, int sub_block) {
    const auto& rows = rows_[b][r];
    auto& codes = codes_[b][r];
    for (int q = P::kSubWords * sub_block; q < P::kSubWords * (sub_block + 1); ++q) {
      if constexpr (P::kPairs) {
        const i32v scale = spread_bytes(rows.words.sub_scale[sub_block / 4], sub_block % 4, sub_block % 4);
        i32v high, low;
        scale_bytes(rows.code[q], Format::kZeroPoint, scale, high, low);
        codes[0][q] = low;
        if constexpr (kParts == 2) codes[1][q] = high;
      } else {
        codes[0][q] = subtract_from_bytes(rows.code[q], Format::kZeroPoint);
      }
    }
  }

  const Rows& rows_;
  i32v codes_[Blocks][kRowVectors][kParts][P::kWords];
};

PHIGGUF_END_ISA
