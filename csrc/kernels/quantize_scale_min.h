// The 256-wide formats with minimums: Q2_K, Q4_K, Q5_K.
//
// Each sub-block is searched for a scale and a minimum; these are quantized against the super-block's two float16
// scales; then every weight is rounded again with the scales as they will be read.
#pragma once

#include "kernels/descent.h"
#include "kernels/round_again.h"
#include "kernels/tile.h"
#include "kernels/weigh.h"

PHIGGUF_BEGIN_ISA

template <class Format, int kMaxCode, int kMaxSub>
struct ScaleMinQuantizer {
  static constexpr Searches kSearches = Searches::kAlways;
  static constexpr int kSub = Format::kSubWidth, kSubBlocks = Format::kWidth / kSub;
  // Q2_K alone weighs by |x| and minimizes the absolute error, and has no factor 2 in its mean square.
  static constexpr bool kTwoBit = kMaxCode == 3;
  static constexpr int kTogether = 2;

  static void plain(const Tile<Format>& tile, LaneFields<Format>& out) {
    ScaleMin found[kSubBlocks];
    f32w highest_scale = set(0.0f), highest_min = set(0.0f);
    for (int j = 0; j < kSubBlocks; j += kTogether) {
      const f32w* x = tile.x + kSub * j;
      f32w w[kTogether * kSub];
      for (int i = 0; i < kTogether * kSub; i += kSub) weigh_by_magnitude(x + i, w + i);
      search_scale_mins<kSub, kMaxCode, kTwoBit, kTogether>(x, w, Format::kSearch, found + j,
                                                            [&] { tile.fetch_next(); });
    }
    for (const ScaleMin& each : found) {
      highest_scale = max(each.scale, highest_scale);
      highest_min = max(each.min, highest_min);
    }
    const f32w levels = set(static_cast<float>(kMaxSub));
    const auto inverse = [&](f32w highest) { return select(highest > set(0.0f), levels / highest, set(0.0f)); };
    const f32w inverse_scale = inverse(highest_scale), inverse_min = inverse(highest_min);
    for (int j = 0; j < kSubBlocks; ++j) {
      out.sub_scale[j] = min(set(kMaxSub), low_byte(nearest_int(inverse_scale * found[j].scale)));
      out.sub_min[j] = min(set(kMaxSub), low_byte(nearest_int(inverse_min * found[j].min)));
    }
    out.scale = to_f16(highest_scale / levels);
    out.min = to_f16(highest_min / levels);
    round_all_again(tile, found, out);
  }

  static void weighted(const Tile<Format>& tile, LaneFields<Format>& out) {
    constexpr ScaleMinSearch kSearch{-0.9f, 0.05f, 36};
    ScaleMin found[kSubBlocks];
    f32w scales[kSubBlocks], mins[kSubBlocks], sub_weight[kSubBlocks];
    const f32w mean_square = block_mean_square(tile);
    for (int j = 0; j < kSubBlocks; j += kTogether) {
      const f32w* x = tile.x + kSub * j;
      f32w w[kTogether * kSub];
      for (int t = 0; t < kTogether; ++t) {
        const int first = kSub * t;
        sub_weight[j + t] = weigh<kSub>(x + first, tile.importance + kSub * j + first, mean_square, w + first);
      }
      search_scale_mins<kSub, kMaxCode, false, kTogether>(x, w, kSearch, found + j, [&] { tile.fetch_next(); });
    }
    for (int j = 0; j < kSubBlocks; ++j) {
      scales[j] = found[j].scale;
      mins[j] = found[j].min;
    }
    out.scale = to_f16(search_positive_scale<kSubBlocks, kMaxSub>(scales, sub_weight, out.sub_scale));
    out.min = to_f16(search_positive_scale<kSubBlocks, kMaxSub>(mins, sub_weight, out.sub_min));
    settle_sub_codes(out);
    round_all_again(tile, found, out);
  }

 private:
  static void weigh_by_magnitude(const f32w* x, f32w* w) {
    f32w base = set(0.0f);
    if (!kTwoBit) {
      for (int i = 0; i < kSub; ++i) base = base + square(x[i]);
      base = sqrt(base / set(static_cast<float>(kSub)));
    }
    for (int i = 0; i < kSub; ++i) w[i] = base + abs(x[i]);
  }

  static f32w block_mean_square(const Tile<Format>& tile) {
    const f32w sum = block_square_sum(tile);
    return (kTwoBit ? sum : set(2.0f) * sum) / set(static_cast<float>(Format::kWidth));
  }

  // A weighted search can end at a negative scale, whose code wraps to one past kMaxSub. ggml limits it in Q5_K. In
  // the others it packs all bits: the excess enters the neighbour in the byte, and counts when weights are rounded.
  static void settle_sub_codes(LaneFields<Format>& out) {
    const auto shift_excess = [](i32w& code, int bits, i32w& neighbour, int place) {
      neighbour = (neighbour & set(kMaxSub)) | ((code >> bits) << place);
      code = code & set(kMaxSub);
    };
    for (int j = 0; j < kSubBlocks; ++j) {
      if constexpr (kMaxCode == 3) {
        shift_excess(out.sub_scale[j], 4, out.sub_min[j], 0);
      } else if constexpr (kMaxCode == 15) {
        if (j >= kSubBlocks / 2) break;
        shift_excess(out.sub_scale[j], 6, out.sub_scale[j + kSubBlocks / 2], 4);
        shift_excess(out.sub_min[j], 6, out.sub_min[j + kSubBlocks / 2], 4);
      } else {
        out.sub_scale[j] = min(set(kMaxSub), out.sub_scale[j]);
        out.sub_min[j] = min(set(kMaxSub), out.sub_min[j]);
      }
    }
  }

  static void round_all_again(const Tile<Format>& tile, const ScaleMin* found, LaneFields<Format>& out) {
    const f32w block_scale = from_f16(out.scale), block_min = from_f16(out.min);
    for (int j = 0; j < kSubBlocks; ++j) {
      const f32w scale = block_scale * to_f32(out.sub_scale[j]);
      const f32w min = block_min * to_f32(out.sub_min[j]);
      const auto kept_code = [&](int i) { return found[j].code(tile.x[i], kMaxCode); };
      round_again<kSub, 0, kMaxCode>(tile, kSub * j, found[j].magnitude, min, scale, kept_code, out);
    }
  }
};

PHIGGUF_END_ISA
