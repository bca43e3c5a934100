// The 32-wide formats: Q4_0, Q5_0 (a signed scale), Q4_1, Q5_1 (scale and minimum), Q8_0.
//
// Without an importance matrix the largest magnitude, or the range, fixes the scale: `Unsearched` says how, for
// encode_unsearched.h. With one, the searches of search.h run, weighted by importance * sqrt(mean square of the
// row + x^2); Q8_0 ignores it.
#pragma once

#include "kernels/search.h"
#include "kernels/tile.h"
#include "kernels/weigh.h"

PHIGGUF_BEGIN_ISA

inline f32v reciprocal_or_zero(f32v x) { return select(x != set(0.0f), set(1.0f) / x, set(0.0f)); }

// The range of each of kLanes blocks, in one lane each.
struct BlockRanges {
  f32v lowest, highest;
};

template <class Format>
inline void weigh_by_row(const Tile<Format>& tile, f32w* w) {
  for (int b = 0; b < tile.kBlocks; ++b) {
    const int first = Format::kWidth * b;
    weigh<Format::kWidth>(tile.x + first, tile.importance + first, tile.row_mean_square[b], w + first);
  }
}

// x ~ scale * (code - kHalf)
template <class Format, int kHalf>
struct SignedQuantizer {
  static constexpr Searches kSearches = Searches::kWhenGuided;

  struct Unsearched {
    f32v scale, inverse, offset;

    template <class Extremes>
    Unsearched(const BlockRanges&, const Extremes& extremes)
        : scale(extremes() / set(static_cast<float>(-kHalf))), inverse(reciprocal_or_zero(scale)), offset(set(0.0f)) {}

    static i32v code(f32v x, f32v inverse, f32v) {
      return min(truncate(x * inverse + set(static_cast<float>(kHalf) + 0.5f)), set(2 * kHalf - 1));
    }
  };

  static void weighted(const Tile<Format>& tile, LaneFields<Format>* out) {
    f32w w[tile.kWeights];
    weigh_by_row(tile, w);
    SignedScale found;
    search_signed_scales<Format::kWidth, kHalf, 1>(tile.x, w, &found, [&] { tile.fetch_next(); });
    out->scale = to_f16(found.scale);
    for (int i = 0; i < Format::kWidth; ++i) out->put_code(i, found.template biased_code<kHalf>(tile.x[i]));
  }
};

// x ~ scale * code + min
template <class Format, int kMaxCode>
struct RangeQuantizer {
  static constexpr Searches kSearches = Searches::kWhenGuided;

  struct Unsearched {
    f32v scale, inverse, offset;

    template <class Extremes>
    Unsearched(const BlockRanges& ranges, const Extremes&)
        : scale((ranges.highest - ranges.lowest) / set(static_cast<float>(kMaxCode))),
          inverse(reciprocal_or_zero(scale)),
          offset(ranges.lowest) {}

    static i32v code(f32v x, f32v inverse, f32v offset) {
      return min(truncate((x - offset) * inverse + set(0.5f)), set(kMaxCode));
    }
  };

  static void weighted(const Tile<Format>& tile, LaneFields<Format>* out) {
    constexpr ScaleMinSearch kSearch{-0.9f, 0.05f, 36};
    f32w w[tile.kWeights];
    weigh_by_row(tile, w);
    ScaleMin found[tile.kBlocks];
    search_scale_mins<Format::kWidth, kMaxCode, false, tile.kBlocks>(tile.x, w, kSearch, found,
                                                                     [&] { tile.fetch_next(); });
    for (int b = 0; b < tile.kBlocks; ++b) {
      out[b].scale = to_f16(found[b].scale);
      out[b].min = to_f16(neg(found[b].min));
      for (int i = 0; i < Format::kWidth; ++i) {
        out[b].put_code(i, found[b].code(tile.x[Format::kWidth * b + i], kMaxCode));
      }
    }
  }
};

// x ~ scale * (code - 128), the codes rounded half away from zero
template <class Format>
struct ByteQuantizer {
  static constexpr Searches kSearches = Searches::kNever;

  struct Unsearched {
    f32v scale, inverse, offset;

    template <class Extremes>
    Unsearched(const BlockRanges& ranges, const Extremes&)
        : scale(max(abs(ranges.lowest), abs(ranges.highest)) / set(127.0f)),
          inverse(reciprocal_or_zero(scale)),
          offset(set(0.0f)) {}

    // For |v| < 2^22, adding the largest float below 0.5 with v's sign and truncating is roundf(v).
    static i32v code(f32v x, f32v inverse, f32v) {
      const f32v v = x * inverse;
      const i32v half = as_bits(set(0x1.fffffep-2f)) | (as_bits(v) & set(INT32_MIN));
      return truncate(v + as_floats(half)) + set(128);
    }
  };
};

PHIGGUF_END_ISA
