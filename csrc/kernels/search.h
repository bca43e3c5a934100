// ggml's searches for the scale of one sub-block, run on kLanes sub-blocks side by side.
//
// A lane does what ggml's scalar code does to one sub-block: the same float32 operations in the same order, none
// fused, so the bytes that follow are ggml's. `x[i]` holds weight i of every lane, `w[i]` its importance.
// Where ggml branches, lanes select; where it stores the codes of the best candidate, we keep the candidate's
// inverse scale (and minimum) and compute the codes once at the end: they are a function of these.
#pragma once

#include "simd/simd.h"

PHIGGUF_BEGIN_ISA

// Below this largest magnitude ggml treats a group as all zeros.
constexpr float kZeroGroup = 1e-15f;

// Nearest integer, ties to even, by ggml's trick of reading the mantissa after adding 1.5 * 2^23. Kept in that form
// because it defines the result beyond 2^22 and for infinities, which denormal scales do produce.
inline i32v nearest_int(f32v x) {
  return (as_bits(x + set(12582912.0f)) & set(0x007fffff)) - set(0x00400000);
}
inline i32v nearest_int(f32v x, int low, int high) { return max(min(nearest_int(x), set(high)), set(low)); }

inline i32v low_byte(i32v x) { return x & set(255); }
inline i32v signed_low_byte(i32v x) { return (x << 24) >> 24; }

inline f32v square(f32v x) { return x * x; }

// The element of largest magnitude, the first among equals.
struct Extreme {
  f32v value;
  f32v magnitude;
};
template <int N>
inline Extreme extreme(const f32v* x) {
  Extreme e{set(0.0f), set(0.0f)};
  for (int i = 0; i < N; ++i) {
    const f32v magnitude = abs(x[i]);
    const maskv larger = magnitude > e.magnitude;
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
  f32v scale;
  f32v min;            // what is subtracted: -lowest
  f32v inverse_scale;  // the best candidate's, and the origin of its codes
  f32v origin;
  maskv flat;          // all weights equal, or none above a minimum of 0: every code is 0

  i32v code(f32v x, int max_code) const {
    return select(flat, set(0), nearest_int(inverse_scale * (x - origin), 0, max_code));
  }
};

template <int N, bool kAbsoluteError>
inline f32v scale_min_error(const f32v* x, const f32v* w, const f32v* code, f32v scale, f32v lowest) {
  f32v error = set(0.0f);
  for (int i = 0; i < N; ++i) {
    const f32v difference = scale * code[i] + lowest - x[i];
    error = error + w[i] * (kAbsoluteError ? abs(difference) : square(difference));
  }
  return error;
}

template <int N, int kMaxCode, bool kAbsoluteError>
inline ScaleMin search_scale_min(const f32v* x, const f32v* w, const ScaleMinSearch& search) {
  f32v lowest = x[0], highest = x[0], sum_w = w[0], sum_x = w[0] * x[0];
  for (int i = 1; i < N; ++i) {
    lowest = min(x[i], lowest);
    highest = max(x[i], highest);
    sum_w = sum_w + w[i];
    sum_x = sum_x + w[i] * x[i];
  }
  lowest = select(lowest > set(0.0f), set(0.0f), lowest);

  f32v code[N];
  const auto encode = [&](f32v inverse_scale) {
    for (int i = 0; i < N; ++i) code[i] = to_f32(nearest_int(inverse_scale * (x[i] - lowest), 0, kMaxCode));
  };

  ScaleMin best;
  best.flat = highest <= lowest;
  best.inverse_scale = set(static_cast<float>(kMaxCode)) / (highest - lowest);
  best.origin = lowest;
  best.scale = set(1.0f) / best.inverse_scale;
  encode(best.inverse_scale);
  f32v best_error = scale_min_error<N, kAbsoluteError>(x, w, code, best.scale, lowest);

  for (int k = 0; k <= search.steps; ++k) {
    const float levels = search.first + search.step * static_cast<float>(k) + static_cast<float>(kMaxCode);
    const f32v inverse_scale = set(levels) / (highest - lowest);
    encode(inverse_scale);
    f32v sum_l = set(0.0f), sum_l2 = set(0.0f), sum_xl = set(0.0f);
    for (int i = 0; i < N; ++i) {
      const f32v wl = w[i] * code[i];
      sum_l = sum_l + wl;
      sum_l2 = sum_l2 + wl * code[i];
      sum_xl = sum_xl + wl * x[i];
    }
    const f32v determinant = sum_w * sum_l2 - sum_l * sum_l;
    f32v scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
    f32v offset = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
    const maskv above_zero = offset > set(0.0f);
    scale = select(above_zero, sum_xl / sum_l2, scale);
    offset = select(above_zero, set(0.0f), offset);

    const f32v error = scale_min_error<N, kAbsoluteError>(x, w, code, scale, offset);
    const maskv better = (determinant > set(0.0f)) & (error < best_error) & ~best.flat;
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
  f32v scale;
  f32v inverse_scale;
  maskv zero;  // ggml leaves the biased code at 0, which stands for -kHalf

  template <int kHalf>
  i32v biased_code(f32v x) const {
    return select(zero, set(0), nearest_int(inverse_scale * x, -kHalf, kHalf - 1) + set(kHalf));
  }
};

template <int N, int kHalf>
inline SignedScale search_signed_scale(const f32v* x, const f32v* w) {
  const Extreme e = extreme<N>(x);
  f32v sum_lx, sum_l2;
  const auto accumulate = [&](f32v inverse_scale) {
    sum_lx = sum_l2 = set(0.0f);
    for (int i = 0; i < N; ++i) {
      const f32v code = to_f32(nearest_int(inverse_scale * x[i], -kHalf, kHalf - 1));
      sum_lx = sum_lx + w[i] * x[i] * code;
      sum_l2 = sum_l2 + w[i] * code * code;
    }
  };

  SignedScale best;
  best.zero = e.magnitude < set(kZeroGroup);
  best.inverse_scale = set(static_cast<float>(-kHalf)) / e.value;
  accumulate(best.inverse_scale);
  best.scale = select(sum_l2 != set(0.0f), sum_lx / sum_l2, set(0.0f));
  f32v best_gain = best.scale * sum_lx;
  for (int k = -9; k <= 9; ++k) {
    if (k == 0) continue;
    const float levels = static_cast<float>(kHalf) + 0.1f * static_cast<float>(k);
    const f32v inverse_scale = set(-levels) / e.value;
    accumulate(inverse_scale);
    const maskv better = (sum_l2 > set(0.0f)) & (sum_lx * sum_lx > best_gain * sum_l2);
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
  f32v lx, l2;

  f32v scale() const { return select(l2 > set(0.0f), lx / l2, set(0.0f)); }
};

// Five rounds at most of moving one code at a time to its best value, while that raises lx^2 / l2. A lane that
// nothing changes in one round cannot change in the next, so the rounds end when no lane changed. ggml keeps
// unsigned codes in bytes, where a negative candidate would wrap, and guards them by the sum without the code.
template <int N, bool kUnsigned, class Round>
inline void descend(const f32v* x, const f32v* w, f32v* code, CodeSums& sums, const Round& round) {
  const f32v zero = set(0.0f);
  for (int attempt = 0; attempt < 5; ++attempt) {
    maskv changed = zero != zero;
    for (int i = 0; i < N; ++i) {
      const f32v rest_lx = sums.lx - w[i] * x[i] * code[i];
      const f32v rest_l2 = sums.l2 - w[i] * code[i] * code[i];
      const i32v rounded = round(x[i] * rest_l2 / rest_lx);
      const f32v candidate = to_f32(rounded);
      const f32v lx = rest_lx + w[i] * x[i] * candidate;
      const f32v l2 = rest_l2 + w[i] * candidate * candidate;
      const maskv usable = (rest_lx > zero) & ((kUnsigned ? rest_l2 : l2) > zero) & (candidate != code[i]);
      const maskv better = usable & (lx * lx * sums.l2 > sums.lx * sums.lx * l2);
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
inline f32v descend_signed_scale(const f32v* x, f32v* biased_code) {
  const Extreme e = extreme<N>(x);
  const f32v inverse_scale = set(static_cast<float>(-kHalf)) / e.value;
  f32v w[N], code[N];
  CodeSums sums{set(0.0f), set(0.0f)};
  for (int i = 0; i < N; ++i) {
    w[i] = square(x[i]);
    code[i] = to_f32(nearest_int(inverse_scale * x[i], -kHalf, kHalf - 1));
    sums.lx = sums.lx + w[i] * x[i] * code[i];
    sums.l2 = sums.l2 + w[i] * code[i] * code[i];
  }
  descend<N, false>(x, w, code, sums, [](f32v v) { return nearest_int(v, -kHalf, kHalf - 1); });
  const maskv zero = e.magnitude < set(kZeroGroup);
  for (int i = 0; i < N; ++i) {
    biased_code[i] = select(zero, set(0.0f), code[i] + set(static_cast<float>(kHalf)));
  }
  return select(zero, set(0.0f), sums.scale());
}

// x ~ scale * code for x >= 0, code in 0..kMaxCode: the scales and the minimums of a super-block.
template <int N, int kMaxCode>
inline f32v search_positive_scale(const f32v* x, const f32v* w, i32v* code_out) {
  f32v highest = set(0.0f);
  for (int i = 0; i < N; ++i) highest = max(highest, x[i]);
  const maskv zero = highest < set(kZeroGroup);

  const auto squared_error = [&](f32v inverse_scale, auto limit) {
    const f32v scale = set(1.0f) / inverse_scale;
    f32v error = set(0.0f);
    for (int i = 0; i < N; ++i) {
      const f32v difference = x[i] - scale * to_f32(limit(nearest_int(inverse_scale * x[i])));
      error = error + w[i] * difference * difference;
    }
    return error;
  };
  f32v best = set(static_cast<float>(kMaxCode)) / highest;
  f32v best_error = squared_error(best, low_byte);
  for (int k = -4; k <= 4; ++k) {
    if (k == 0) continue;
    const float levels = 0.1f * static_cast<float>(k) + static_cast<float>(kMaxCode);
    const f32v inverse_scale = set(levels) / highest;
    const f32v error = squared_error(inverse_scale, [](i32v l) { return min(set(kMaxCode), l); });
    const maskv better = error < best_error;
    best_error = select(better, error, best_error);
    best = select(better, inverse_scale, best);
  }

  f32v code[N];
  CodeSums sums{set(0.0f), set(0.0f)};
  for (int i = 0; i < N; ++i) {
    const i32v rounded = min(set(kMaxCode), nearest_int(best * x[i]));
    const f32v l = to_f32(rounded);
    code[i] = to_f32(low_byte(rounded));
    sums.lx = sums.lx + w[i] * x[i] * l;
    sums.l2 = sums.l2 + w[i] * l * l;
  }
  descend<N, true>(x, w, code, sums, [](f32v v) { return min(set(kMaxCode), nearest_int(v)); });
  for (int i = 0; i < N; ++i) code_out[i] = select(zero, set(0), truncate(code[i]));
  return select(zero, set(0.0f), sums.scale());
}

PHIGGUF_END_ISA
