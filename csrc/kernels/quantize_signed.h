// The 256-wide formats with signed scales and no minimums: Q3_K and Q6_K.
//
// Each sub-block is searched for a signed scale; the scales are quantized against the super-block's float16 scale;
// then every weight is rounded again with the scales as they will be read.
#pragma once

#include "kernels/descent.h"
#include "kernels/round_again.h"
#include "kernels/tile.h"
#include "kernels/weigh.h"

PHIGGUF_BEGIN_ISA

template <class Format, int kHalf>
struct SignedSubBlocks {
  static constexpr int kSub = Format::kSubWidth, kSubBlocks = Format::kWidth / kSub;
  static constexpr int kTogether = 2;

  static void separate(const SignedScale* found, f32w* scales, f32w* magnitudes) {
    for (int j = 0; j < kSubBlocks; ++j) {
      scales[j] = found[j].scale;
      magnitudes[j] = found[j].magnitude;
    }
  }

  template <class KeptCode>
  static void round_all_again(const Tile<Format>& tile, const f32w* magnitude, const KeptCode& kept_code,
                              LaneFields<Format>& out) {
    const f32w block_scale = from_f16(out.scale);
    for (int j = 0; j < kSubBlocks; ++j) {
      const f32w scale = block_scale * to_f32(out.sub_scale[j]);
      const auto kept = [&](int i) { return kept_code(j, i); };
      round_again<kSub, -kHalf, kHalf - 1>(tile, kSub * j, magnitude[j], set(0.0f), scale, kept, out);
    }
  }
};

template <class Format>
struct ThreeBitQuantizer : SignedSubBlocks<Format, 4> {
  using Base = SignedSubBlocks<Format, 4>;
  using Base::kSub, Base::kSubBlocks, Base::kTogether;
  static constexpr Searches kSearches = Searches::kAlways;
  static constexpr int kHalfSub = 32;
  using Descent = SignedDescent<kSub, 4>;

  static void plain(const Tile<Format>& tile, LaneFields<Format>& out) {
    f32w scales[kSubBlocks], magnitudes[kSubBlocks];
    UnsettledSubBlocks<kSub, 4, kSubBlocks> unsettled;
    for (int j = 0; j < kSubBlocks; ++j) {
      for (int k = 0; k < 4; ++k) tile.fetch_next();
      Descent d;
      d.start(tile.x + kSub * j);
      scales[j] = d.scale();
      magnitudes[j] = d.magnitude();
      unsettled.add(j, d.unsettled());
    }
    unsettled.descend_all(tile.x, scales, [&] { tile.fetch_next(); });
    const f32w largest = extreme<kSubBlocks>(scales).value;
    const maskw empty = largest == set(0.0f);
    const f32w inverse = set(static_cast<float>(-kHalfSub)) / largest;
    out.scale = select(empty, set(0), to_f16(set(1.0f) / inverse));
    for (int j = 0; j < kSubBlocks; ++j) {
      const i32w rounded = signed_low_byte(nearest_int(inverse * scales[j]));
      const i32w sub_scale = max(min(rounded, set(kHalfSub - 1)), set(-kHalfSub));
      out.sub_scale[j] = select(empty, set(-kHalfSub), sub_scale);
    }
    // Few codes are kept, so those of the descent are made again.
    Descent kept;
    int kept_sub_block = -1;
    const auto kept_code = [&](int j, int i) {
      if (j != kept_sub_block) {
        kept.start(tile.x + kSub * j);
        descend<kSub>(&kept, 1, [] {});
        kept_sub_block = j;
      }
      return kept.biased_code(i - kSub * j);
    };
    Base::round_all_again(tile, magnitudes, kept_code, out);
  }

  static void weighted(const Tile<Format>& tile, LaneFields<Format>& out) {
    const f32w mean_square = set(2.0f) * block_square_sum(tile) / set(static_cast<float>(Format::kWidth));
    SignedScale found[kSubBlocks];
    f32w scales[kSubBlocks], magnitudes[kSubBlocks], sub_weight[kSubBlocks];
    for (int j = 0; j < kSubBlocks; j += kTogether) {
      const f32w* x = tile.x + kSub * j;
      f32w w[kTogether * kSub];
      for (int t = 0; t < kTogether; ++t) {
        const int first = kSub * t;
        sub_weight[j + t] = weigh<kSub>(x + first, tile.importance + kSub * j + first, mean_square, w + first);
      }
      search_signed_scales<kSub, 4, kTogether>(x, w, found + j, [&] { tile.fetch_next(); });
    }
    Base::separate(found, scales, magnitudes);
    SignedScale block;
    search_signed_scales<kSubBlocks, kHalfSub, 1>(scales, sub_weight, &block, [] {});
    out.scale = to_f16(block.scale);
    for (int j = 0; j < kSubBlocks; ++j) {
      out.sub_scale[j] = block.template biased_code<kHalfSub>(scales[j]) - set(kHalfSub);
    }
    const auto kept_code = [&](int j, int i) { return found[j].template biased_code<4>(tile.x[i]); };
    Base::round_all_again(tile, magnitudes, kept_code, out);
  }
};

template <class Format>
struct SixBitQuantizer : SignedSubBlocks<Format, 32> {
  using Base = SignedSubBlocks<Format, 32>;
  using Base::kSub, Base::kSubBlocks, Base::kTogether;
  static constexpr Searches kSearches = Searches::kAlways;

  static void plain(const Tile<Format>& tile, LaneFields<Format>& out) {
    SignedScale found[kSubBlocks];
    for (int j = 0; j < kSubBlocks; j += kTogether) {
      const f32w* x = tile.x + kSub * j;
      f32w squares[kTogether * kSub];
      for (int i = 0; i < kTogether * kSub; ++i) squares[i] = square(x[i]);
      search_signed_scales<kSub, 32, kTogether>(x, squares, found + j, [&] { tile.fetch_next(); });
    }
    finish(tile, found, out);
  }

  // ggml weighs by the importance alone here.
  static void weighted(const Tile<Format>& tile, LaneFields<Format>& out) {
    SignedScale found[kSubBlocks];
    for (int j = 0; j < kSubBlocks; j += kTogether) {
      const f32w *x = tile.x + kSub * j, *w = tile.importance + kSub * j;
      search_signed_scales<kSub, 32, kTogether>(x, w, found + j, [&] { tile.fetch_next(); });
    }
    finish(tile, found, out);
  }

 private:
  static void finish(const Tile<Format>& tile, const SignedScale* found, LaneFields<Format>& out) {
    f32w scales[kSubBlocks], magnitudes[kSubBlocks];
    Base::separate(found, scales, magnitudes);
    const Extreme largest = extreme<kSubBlocks>(scales);
    const maskw empty = largest.magnitude < set(kZeroGroup);
    const f32w inverse = set(-128.0f) / largest.value;
    out.scale = select(empty, set(0), to_f16(set(1.0f) / inverse));
    for (int j = 0; j < kSubBlocks; ++j) {
      const i32w rounded = signed_low_byte(min(set(127), nearest_int(inverse * scales[j])));
      out.sub_scale[j] = select(empty, set(0), rounded);
    }
    const auto kept_code = [&](int j, int i) {
      return select(empty, set(0), found[j].template biased_code<32>(tile.x[i]));
    };
    Base::round_all_again(tile, magnitudes, kept_code, out);
  }
};

PHIGGUF_END_ISA
