// The 32-wide formats: Q4_0, Q5_0 (a signed scale), Q4_1, Q5_1 (scale and minimum), Q8_0.
//
// Without an importance matrix the largest magnitude, or the range, fixes the scale. With one, the searches of
// search.h run, weighted by importance * sqrt(mean square of the row + x^2); Q8_0 ignores it.
#pragma once

#include "kernels/search.h"
#include "kernels/tile.h"

PHIGGUF_BEGIN_ISA

inline f32w reciprocal_or_zero(f32w x) { return select(x != set(0.0f), set(1.0f) / x, set(0.0f)); }

template <class Format>
inline void weigh_by_row(const Tile<Format>& tile, f32w* w) {
  for (int i = 0; i < Format::kWidth; ++i) {
    w[i] = tile.importance[i] * sqrt(tile.row_mean_square + square(tile.x[i]));
  }
}

// x ~ scale * (code - kHalf)
template <class Format, int kHalf>
struct SignedQuantizer {
  static constexpr bool kNeedsRowMeanSquare = true;

  static void plain(const Tile<Format>& tile, LaneFields<Format>& out) {
    const f32w scale = extreme<Format::kWidth>(tile.x).value / set(static_cast<float>(-kHalf));
    const f32w inverse = reciprocal_or_zero(scale);
    out.scale = to_f16(scale);
    const f32w rounding = set(static_cast<float>(kHalf) + 0.5f);
    for (int i = 0; i < Format::kWidth; ++i) {
      const i32w code = signed_low_byte(truncate(tile.x[i] * inverse + rounding));
      out.put_code(i, low_byte(min(set(2 * kHalf - 1), code)));
    }
  }

  static void weighted(const Tile<Format>& tile, LaneFields<Format>& out) {
    f32w w[Format::kWidth];
    weigh_by_row(tile, w);
    const SignedScale found = search_signed_scale<Format::kWidth, kHalf>(tile.x, w);
    out.scale = to_f16(found.scale);
    for (int i = 0; i < Format::kWidth; ++i) {
      out.put_code(i, found.template biased_code<kHalf>(tile.x[i]));
    }
  }
};

// x ~ scale * code + min
template <class Format, int kMaxCode>
struct RangeQuantizer {
  static constexpr bool kNeedsRowMeanSquare = true;

  static void plain(const Tile<Format>& tile, LaneFields<Format>& out) {
    f32w lowest = tile.x[0], highest = tile.x[0];
    for (int i = 1; i < Format::kWidth; ++i) {
      lowest = min(tile.x[i], lowest);
      highest = max(tile.x[i], highest);
    }
    const f32w scale = (highest - lowest) / set(static_cast<float>(kMaxCode));
    const f32w inverse = reciprocal_or_zero(scale);
    out.scale = to_f16(scale);
    out.min = to_f16(lowest);
    for (int i = 0; i < Format::kWidth; ++i) {
      const i32w code = signed_low_byte(truncate((tile.x[i] - lowest) * inverse + set(0.5f)));
      out.put_code(i, low_byte(min(set(kMaxCode), code)));
    }
  }

  static void weighted(const Tile<Format>& tile, LaneFields<Format>& out) {
    constexpr ScaleMinSearch kSearch{-0.9f, 0.05f, 36};
    f32w w[Format::kWidth];
    weigh_by_row(tile, w);
    ScaleMin found;
    search_scale_mins<Format::kWidth, kMaxCode, false, 1>(tile.x, w, kSearch, &found);
    out.scale = to_f16(found.scale);
    out.min = to_f16(neg(found.min));
    for (int i = 0; i < Format::kWidth; ++i) out.put_code(i, found.code(tile.x[i], kMaxCode));
  }
};

// x ~ scale * (code - 128), the codes rounded half away from zero
template <class Format>
struct ByteQuantizer {
  static constexpr bool kNeedsRowMeanSquare = false;

  static void plain(const Tile<Format>& tile, LaneFields<Format>& out) {
    const f32w scale = extreme<Format::kWidth>(tile.x).magnitude / set(127.0f);
    const f32w inverse = reciprocal_or_zero(scale);
    out.scale = to_f16(scale);
    // For |v| < 2^22, adding the largest float below 0.5 with v's sign and truncating is roundf(v).
    const i32w below_half = as_bits(set(0x1.fffffep-2f));
    for (int i = 0; i < Format::kWidth; ++i) {
      const f32w v = tile.x[i] * inverse;
      const f32w half = as_floats(below_half | (as_bits(v) & set(INT32_MIN)));
      out.put_code(i, low_byte(truncate(v + half) + set(128)));
    }
  }

  static void weighted(const Tile<Format>& tile, LaneFields<Format>& out) { plain(tile, out); }
};

PHIGGUF_END_ISA
