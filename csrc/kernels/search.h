// ggml's searches for the scale of one sub-block, run on kPairLanes sub-blocks side by side.
//
// A lane does what ggml's scalar code does to one sub-block: the same float32 operations in the same order, none
// fused, so the bytes that follow are ggml's. `x[i]` holds weight i of every lane, `w[i]` its importance.
// Where ggml branches, lanes select; where it stores the codes of the best candidate, we keep the candidate's
// inverse scale (and minimum) and compute the codes once at the end: they are a function of these.
#pragma once

#include "simd/pair.h"

PHIGGUF_BEGIN_ISA

// Below this largest magnitude ggml treats a group as all zeros.
constexpr float kZeroGroup = 1e-15f;

// Nearest integer, ties to even, by ggml's trick of reading the mantissa after adding 1.5 * 2^23. Kept in that form
// because it defines the result beyond 2^22 and for infinities, which denormal scales do produce.
inline i32w nearest_int(f32w x) { return (as_bits(x + set(12582912.0f)) & set(0x007fffff)) - set(0x00400000); }
inline i32w nearest_int(f32w x, int low, int high) { return max(min(nearest_int(x), set(high)), set(low)); }

// The same for |x| < 2^22, in fewer operations and as a float; a bound that x cannot reach may be left out.
constexpr float kRoundToInteger = 12582912.0f;
template <bool kBoundBelow = true, bool kBoundAbove = true>
inline f32w nearest_small(f32w x, int low, int high) {
  f32w rounded = x + set(kRoundToInteger);
  if (kBoundAbove) rounded = min(rounded, set(kRoundToInteger + static_cast<float>(high)));
  if (kBoundBelow) rounded = max(rounded, set(kRoundToInteger + static_cast<float>(low)));
  return rounded - set(kRoundToInteger);
}

inline i32w low_byte(i32w x) { return x & set(255); }
inline i32w signed_low_byte(i32w x) { return (x << 24) >> 24; }

inline f32w square(f32w x) { return x * x; }

// The element of largest magnitude, the first among equals.
struct Extreme {
  f32w value;
  f32w magnitude;
};
template <int N>
inline Extreme extreme(const f32w* x) {
  Extreme e{set(0.0f), set(0.0f)};
  for (int i = 0; i < N; ++i) {
    const f32w magnitude = abs(x[i]);
    const maskw larger = magnitude > e.magnitude;
    e.value = select(larger, x[i], e.value);
    e.magnitude = select(larger, magnitude, e.magnitude);
  }
  return e;
}

// x ~ scale * code + lowest, code in 0..max_code -------------------------------------------------------------------

struct ScaleMinSearch {
  float first, step;  // candidate k has inverse scale (first + step * k + max_code) / range
  int steps;
};

struct ScaleMin {
  f32w scale;
  f32w min;            // what is subtracted: -lowest
  f32w inverse_scale;  // the best candidate's, and the origin of its codes
  f32w origin;
  maskw flat;  // all weights equal, or none above a minimum of 0: every code is 0

  i32w code(f32w x, int max_code) const {
    return select(flat, set(0), nearest_int(inverse_scale * (x - origin), 0, max_code));
  }
};

template <int N, bool kAbsoluteError>
inline f32w scale_min_error(const f32w* x, const f32w* w, const f32w* code, f32w scale, f32w lowest) {
  f32w error = set(0.0f);
  for (int i = 0; i < N; ++i) {
    const f32w difference = scale * code[i] + lowest - x[i];
    error = error + w[i] * (kAbsoluteError ? abs(difference) : square(difference));
  }
  return error;
}

template <int N, int kMaxCode, bool kAbsoluteError>
inline ScaleMin search_scale_min(const f32w* x, const f32w* w, const ScaleMinSearch& search) {
  f32w lowest = x[0], highest = x[0], sum_w = w[0], sum_x = w[0] * x[0];
  for (int i = 1; i < N; ++i) {
    lowest = min(x[i], lowest);
    highest = max(x[i], highest);
    sum_w = sum_w + w[i];
    sum_x = sum_x + w[i] * x[i];
  }
  lowest = select(lowest > set(0.0f), set(0.0f), lowest);

  ScaleMin best;
  best.flat = highest <= lowest;
  // While the range stays a fair part of the first one, x / range * levels cannot leave nearest_small's domain. Codes
  // fall below 0 only once a lane's minimum has risen, and above kMaxCode only from the levels that round up to it.
  const f32w first_lowest = lowest;
  const f32w least_range = max(set(1e-30f), (highest - lowest) * set(0x1p-10f));
  f32w code[N];
  const auto encode_with = [&](f32w inverse_scale, auto nearest) {
    for (int i = 0; i < N; ++i) code[i] = nearest(inverse_scale * (x[i] - lowest));
  };
  const auto encode = [&](f32w inverse_scale, float levels) {
    if (any((highest - lowest < least_range) & ~best.flat)) {
      encode_with(inverse_scale, [](f32w v) { return to_f32(nearest_int(v, 0, kMaxCode)); });
    } else if (any(lowest > first_lowest)) {
      encode_with(inverse_scale, [](f32w v) { return nearest_small(v, 0, kMaxCode); });
    } else if (levels > static_cast<float>(kMaxCode) + 0.49f) {
      encode_with(inverse_scale, [](f32w v) { return nearest_small<false, true>(v, 0, kMaxCode); });
    } else {
      encode_with(inverse_scale, [](f32w v) { return nearest_small<false, false>(v, 0, kMaxCode); });
    }
  };

  best.inverse_scale = set(static_cast<float>(kMaxCode)) / (highest - lowest);
  best.origin = lowest;
  best.scale = set(1.0f) / best.inverse_scale;
  encode(best.inverse_scale, static_cast<float>(kMaxCode));
  f32w best_error = scale_min_error<N, kAbsoluteError>(x, w, code, best.scale, lowest);

  for (int k = 0; k <= search.steps; ++k) {
    const float levels = search.first + search.step * static_cast<float>(k) + static_cast<float>(kMaxCode);
    const f32w inverse_scale = set(levels) / (highest - lowest);
    encode(inverse_scale, levels);
    f32w sum_l = set(0.0f), sum_l2 = set(0.0f), sum_xl = set(0.0f);
    for (int i = 0; i < N; ++i) {
      const f32w wl = w[i] * code[i];
      sum_l = sum_l + wl;
      sum_l2 = sum_l2 + wl * code[i];
      sum_xl = sum_xl + wl * x[i];
    }
    const f32w determinant = sum_w * sum_l2 - sum_l * sum_l;
    f32w scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
    f32w offset = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
    const maskw above_zero = offset > set(0.0f);
    if (any(above_zero)) {
      scale = select(above_zero, sum_xl / sum_l2, scale);
      offset = select(above_zero, set(0.0f), offset);
    }

    const f32w error = scale_min_error<N, kAbsoluteError>(x, w, code, scale, offset);
    const maskw better = (determinant > set(0.0f)) & (error < best_error) & ~best.flat;
    best_error = select(better, error, best_error);
    best.scale = select(better, scale, best.scale);
    best.inverse_scale = select(better, inverse_scale, best.inverse_scale);
    best.origin = select(better, lowest, best.origin);
    lowest = select(better, offset, lowest);  // ggml's later candidates start from the better minimum
  }
  best.min = neg(lowest);
  best.scale = select(best.flat, set(0.0f), best.scale);
  return best;
}

// x ~ scale * code, code in -kHalf..kHalf-1 ------------------------------------------------------------------------

struct SignedScale {
  f32w scale;
  f32w inverse_scale;
  maskw zero;  // ggml leaves the biased code at 0, which stands for -kHalf

  template <int kHalf>
  i32w biased_code(f32w x) const {
    return select(zero, set(0), nearest_int(inverse_scale * x, -kHalf, kHalf - 1) + set(kHalf));
  }
};

template <int N, int kHalf>
inline SignedScale search_signed_scale(const f32w* x, const f32w* w) {
  // |x| <= |e.value| keeps the codes in nearest_small's domain, but for lanes of zeros, whose result is masked.
  const Extreme e = extreme<N>(x);
  f32w wx[N];
  for (int i = 0; i < N; ++i) wx[i] = w[i] * x[i];
  f32w sum_lx, sum_l2;
  const auto accumulate_with = [&](f32w inverse_scale, auto nearest) {
    sum_lx = sum_l2 = set(0.0f);
    for (int i = 0; i < N; ++i) {
      const f32w code = nearest(inverse_scale * x[i], -kHalf, kHalf - 1);
      sum_lx = sum_lx + wx[i] * code;
      sum_l2 = sum_l2 + w[i] * code * code;
    }
  };
  const auto accumulate = [&](f32w inverse_scale, float levels) {
    if (levels < static_cast<float>(kHalf) + 0.49f) {
      accumulate_with(inverse_scale, nearest_small<false, true>);
    } else {
      accumulate_with(inverse_scale, nearest_small<true, true>);
    }
  };

  SignedScale best;
  best.zero = e.magnitude < set(kZeroGroup);
  best.inverse_scale = set(static_cast<float>(-kHalf)) / e.value;
  accumulate(best.inverse_scale, static_cast<float>(kHalf));
  best.scale = select(sum_l2 != set(0.0f), sum_lx / sum_l2, set(0.0f));
  f32w best_gain = best.scale * sum_lx;
  for (int k = -9; k <= 9; ++k) {
    if (k == 0) continue;
    const float levels = static_cast<float>(kHalf) + 0.1f * static_cast<float>(k);
    const f32w inverse_scale = set(-levels) / e.value;
    accumulate(inverse_scale, levels);
    const maskw better = (sum_l2 > set(0.0f)) & (sum_lx * sum_lx > best_gain * sum_l2);
    best.scale = select(better, sum_lx / sum_l2, best.scale);
    best_gain = select(better, best.scale * sum_lx, best_gain);
    best.inverse_scale = select(better, inverse_scale, best.inverse_scale);
  }
  best.scale = select(best.zero, set(0.0f), best.scale);
  return best;
}

// Coordinate descent on the codes ----------------------------------------------------------------------------------

// Sums over the codes of w x l and w l l; their quotient is the least-squares scale.
struct CodeSums {
  f32w lx, l2;

  f32w scale() const { return select(l2 > set(0.0f), lx / l2, set(0.0f)); }
};

// Five rounds at most of moving one code at a time to its best value, while that raises lx^2 / l2. A lane that
// nothing changes in one round cannot change in the next, so the rounds end when no lane changed. ggml keeps
// unsigned codes in bytes, where a negative candidate would wrap, and guards them by the sum without the code.
template <int N, bool kUnsigned, class Round>
inline void descend(const f32w* x, const f32w* w, f32w* code, CodeSums& sums, const Round& round) {
  const f32w zero = set(0.0f);
  f32w wx[N];
  for (int i = 0; i < N; ++i) wx[i] = w[i] * x[i];
  for (int attempt = 0; attempt < 5; ++attempt) {
    maskw changed = zero != zero;
    for (int i = 0; i < N; ++i) {
      const f32w rest_lx = sums.lx - wx[i] * code[i];
      const f32w rest_l2 = sums.l2 - w[i] * code[i] * code[i];
      const i32w rounded = round(x[i] * rest_l2 / rest_lx);
      const f32w candidate = to_f32(rounded);
      const f32w lx = rest_lx + wx[i] * candidate;
      const f32w l2 = rest_l2 + w[i] * candidate * candidate;
      const maskw usable = (rest_lx > zero) & ((kUnsigned ? rest_l2 : l2) > zero) & (candidate != code[i]);
      const maskw better = usable & (lx * lx * sums.l2 > sums.lx * sums.lx * l2);
      code[i] = select(better, kUnsigned ? to_f32(low_byte(rounded)) : candidate, code[i]);
      sums.lx = select(better, lx, sums.lx);
      sums.l2 = select(better, l2, sums.l2);
      changed = changed | better;
    }
    if (!any(changed)) break;
  }
}

// x ~ scale * code, code in -kHalf..kHalf-1, weighted by x^2: Q3_K without an importance matrix.
template <int N, int kHalf>
inline f32w descend_signed_scale(const f32w* x, f32w* biased_code) {
  const Extreme e = extreme<N>(x);
  const f32w inverse_scale = set(static_cast<float>(-kHalf)) / e.value;
  f32w w[N], code[N];
  CodeSums sums{set(0.0f), set(0.0f)};
  for (int i = 0; i < N; ++i) {
    w[i] = square(x[i]);
    code[i] = to_f32(nearest_int(inverse_scale * x[i], -kHalf, kHalf - 1));
    sums.lx = sums.lx + w[i] * x[i] * code[i];
    sums.l2 = sums.l2 + w[i] * code[i] * code[i];
  }
  descend<N, false>(x, w, code, sums, [](f32w v) { return nearest_int(v, -kHalf, kHalf - 1); });
  const maskw zero = e.magnitude < set(kZeroGroup);
  for (int i = 0; i < N; ++i) {
    biased_code[i] = select(zero, set(0.0f), code[i] + set(static_cast<float>(kHalf)));
  }
  return select(zero, set(0.0f), sums.scale());
}

// x ~ scale * code for x >= 0, code in 0..kMaxCode: the scales and the minimums of a super-block.
template <int N, int kMaxCode>
inline f32w search_positive_scale(const f32w* x, const f32w* w, i32w* code_out) {
  f32w highest = set(0.0f);
  for (int i = 0; i < N; ++i) highest = max(highest, x[i]);
  const maskw zero = highest < set(kZeroGroup);

  const auto squared_error = [&](f32w inverse_scale, auto limit) {
    const f32w scale = set(1.0f) / inverse_scale;
    f32w error = set(0.0f);
    for (int i = 0; i < N; ++i) {
      const f32w difference = x[i] - scale * to_f32(limit(nearest_int(inverse_scale * x[i])));
      error = error + w[i] * difference * difference;
    }
    return error;
  };
  f32w best = set(static_cast<float>(kMaxCode)) / highest;
  f32w best_error = squared_error(best, low_byte);
  for (int k = -4; k <= 4; ++k) {
    if (k == 0) continue;
    const float levels = 0.1f * static_cast<float>(k) + static_cast<float>(kMaxCode);
    const f32w inverse_scale = set(levels) / highest;
    const f32w error = squared_error(inverse_scale, [](i32w l) { return min(set(kMaxCode), l); });
    const maskw better = error < best_error;
    best_error = select(better, error, best_error);
    best = select(better, inverse_scale, best);
  }

  f32w code[N];
  CodeSums sums{set(0.0f), set(0.0f)};
  for (int i = 0; i < N; ++i) {
    const i32w rounded = min(set(kMaxCode), nearest_int(best * x[i]));
    const f32w l = to_f32(rounded);
    code[i] = to_f32(low_byte(rounded));
    sums.lx = sums.lx + w[i] * x[i] * l;
    sums.l2 = sums.l2 + w[i] * l * l;
  }
  descend<N, true>(x, w, code, sums, [](f32w v) { return min(set(kMaxCode), nearest_int(v)); });
  for (int i = 0; i < N; ++i) code_out[i] = select(zero, set(0), truncate(code[i]));
  return select(zero, set(0.0f), sums.scale());
}

PHIGGUF_END_ISA
