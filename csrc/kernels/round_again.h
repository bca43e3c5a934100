// A sub-block's weights to codes, with its scale and minimum as they will be read.
//
// ggml divides each weight by the scale. Here one division serves all: a product with the reciprocal is corrected by
// two fused operations, which leaves it within 2^-46 of the quotient before it is rounded to float32. A scale has at
// most 18 significant bits (a float16's 11 and a sub-scale's 7), and then no quotient is that close to the middle
// between k + 1/2 and a float beside it, for any code k: the rounded codes are those of ggml's division.
#pragma once

#include "kernels/search.h"
#include "kernels/tile.h"

PHIGGUF_BEGIN_ISA

// Quotients below this, which all but absurd sub-blocks have, can be rounded by adding kRounder.
constexpr float kPlainQuotient = 0x1p20f;

// a / divisor, equal once it is rounded to a code. Without vectors a fused operation may be a function's call.
struct Divisor {
  f32w value, negated, reciprocal;

  explicit Divisor(f32w divisor) : value(divisor), negated(neg(divisor)), reciprocal(set(1.0f) / divisor) {}

  f32w divide(f32w a) const {
    if constexpr (kLanes == 1) return a / value;
    const f32w product = a * reciprocal;
    return fma(fma(product, negated, a), reciprocal, product);
  }
};

// Puts codes kLowest..kHighest, counted from kLowest, of kSub weights from `first` on. `shift` is added to them before,
// and `magnitude` is the largest. Where the scale is zero they keep the codes of their search, `kept_code(i)`.
template <int kSub, int kLowest, int kHighest, class Format, class KeptCode>
inline void round_again(const Tile<Format>& tile, int first, f32w magnitude, f32w shift, f32w scale,
                        const KeptCode& kept_code, LaneFields<Format>& out) {
  const f32w* x = tile.x + first;
  const maskw kept = scale == set(0.0f);
  const bool any_kept = any(kept);
  if (any(~(kept | (magnitude + abs(shift) < set(kPlainQuotient) * abs(scale))))) {
    for (int i = 0; i < kSub; ++i) {
      const i32w code = nearest_int((x[i] + shift) / scale, kLowest, kHighest) - set(kLowest);
      out.put_code(first + i, select(kept, kept_code(first + i), code));
    }
    return;
  }
  const Divisor divisor(scale);
  for (int i = 0; i < kSub; i += 4) {
    f32w sums[4];
    for (int b = 0; b < 4; ++b) {
      const f32w dividend = Format::kMin == Min::kNone ? x[i + b] : x[i + b] + shift;
      const f32w quotient = divisor.divide(dividend);
      sums[b] = max(min(quotient + set(kRounder - kLowest), set(kRounder - kLowest + kHighest)), set(kRounder));
    }
    if (any_kept) {
      for (int b = 0; b < 4; ++b) {
        sums[b] = select(kept, set(kRounder) + to_f32(kept_code(first + i + b)), sums[b]);
      }
    }
    out.put_four(first + i, sums);
  }
}

PHIGGUF_END_ISA
