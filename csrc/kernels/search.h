// ggml's searches for the scale of one sub-block, run on kPairLanes sub-blocks side by side; descent.h has the others.
//
// A lane does what ggml's scalar code does to one sub-block: the same float32 operations in the same order, none
// fused, so the bytes that follow are ggml's. `x[i]` holds weight i of every lane, `w[i]` its importance.
// Where ggml branches, lanes select; where it stores the codes of the best candidate, we keep the candidate's
// inverse scale (and minimum) and compute the codes once at the end: they are a function of these.
#pragma once

#include "kernels/rounder.h"
#include "simd/pair.h"

PHIGGUF_BEGIN_ISA

// Below this largest magnitude ggml treats a group as all zeros.
constexpr float kZeroGroup = 1e-15f;

// Nearest integer, ties to even, by ggml's trick of reading the mantissa after adding 1.5 * 2^23. Kept in that form
// because it defines the result beyond 2^22 and for infinities, which denormal scales do produce.
inline i32w nearest_int(f32w x) { return (as_bits(x + set(kRounder)) & set(0x007fffff)) - set(0x00400000); }
inline i32w nearest_int(f32w x, int low, int high) { return max(min(nearest_int(x), set(high)), set(low)); }

inline i32w low_byte(i32w x) { return x & set(255); }
inline i32w signed_low_byte(i32w x) { return (x << 24) >> 24; }

inline f32w square(f32w x) { return x * x; }

struct Range {
  f32w lowest, highest;
};
template <int N>
inline Range range(const f32w* x) {
  Range r{x[0], x[0]};
  for (int i = 1; i < N; ++i) {
    r.lowest = min(x[i], r.lowest);
    r.highest = max(x[i], r.highest);
  }
  return r;
}

// The element of largest magnitude, the first among equals.
struct Extreme {
  f32w value;
  f32w magnitude;
};
template <int N>
inline Extreme extreme(const f32w* x, const Range& r) {
  const f32w magnitude = max(abs(r.highest), abs(r.lowest));
  const maskw nonzero = magnitude > set(0.0f);
  f32w value = select(nonzero, select(r.highest == magnitude, r.highest, r.lowest), set(0.0f));
  const maskw both_signs = nonzero & (r.highest == neg(r.lowest));
  if (any(both_signs)) {
    for (int i = N - 1; i >= 0; --i) value = select(both_signs & (abs(x[i]) == magnitude), x[i], value);
  }
  return {value, magnitude};
}
template <int N>
inline Extreme extreme(const f32w* x) {
  return extreme<N>(x, range<N>(x));
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
  f32w magnitude;  // the largest of the weights
  maskw flat;      // all weights equal, or none above a minimum of 0: every code is 0

  i32w code(f32w x, int max_code) const {
    return select(flat, set(0), nearest_int(inverse_scale * (x - origin), 0, max_code));
  }
};

// One sub-block's search. `fit` tries a candidate, `judge` keeps it where it is better and starts the next one's
// division; callers alternate them over several sub-blocks, so that one's divisions hide behind another's sums.
//
// Instead of codes, weights are limited: one beyond `low_` or `high_` is moved there. That changes none of its codes as
// long as those of low_ and high_ are the outermost ones, which is checked for each candidate.
template <int N, int kMaxCode, bool kAbsoluteError>
class ScaleMinSearcher {
 public:
  void start(const f32w* x, const f32w* w, float first_levels) {
    x_ = x;
    w_ = w;
    f32w lowest = x[0], highest = x[0];
    sum_w_ = w[0];
    sum_x_ = w[0] * x[0];
    for (int i = 1; i < N; ++i) {
      lowest = min(x[i], lowest);
      highest = max(x[i], highest);
      sum_w_ = sum_w_ + w[i];
      sum_x_ = sum_x_ + w[i] * x[i];
    }
    range_ = {lowest, highest};
    limited_ = x;
    limits_ = range_;
    most_at_low_ = set(kMaxCode - 0.5f);
    least_at_high_ = set(0.5f);
    lowest_ = select(lowest > set(0.0f), set(0.0f), lowest);
    best_.flat = highest <= lowest_;
    best_.magnitude = max(abs(lowest), abs(highest));
    best_.origin = lowest_;
    prepare(static_cast<float>(kMaxCode));
    best_.inverse_scale = inverse_scale_;
    best_.scale = set(1.0f) / best_.inverse_scale;
    encode([](int, f32w) {});
    best_error_ = error(best_.scale, lowest_);
    prepare(first_levels);
  }

  void fit() {
    f32w sum_l = set(0.0f), sum_l2 = set(0.0f), sum_xl = set(0.0f);
    encode([&](int i, f32w code) {
      const f32w wl = w_[i] * code;
      sum_l = sum_l + wl;
      sum_l2 = sum_l2 + wl * code;
      sum_xl = sum_xl + wl * x_[i];
    });
    determinant_ = sum_w_ * sum_l2 - sum_l * sum_l;
    scale_ = (sum_w_ * sum_xl - sum_x_ * sum_l) / determinant_;
    offset_ = (sum_l2 * sum_x_ - sum_l * sum_xl) / determinant_;
    const maskw above_zero = offset_ > set(0.0f);
    if (any(above_zero)) {
      scale_ = select(above_zero, sum_xl / sum_l2, scale_);
      offset_ = select(above_zero, set(0.0f), offset_);
    }
  }

  void judge(float next_levels) {
    const f32w candidate_error = error(scale_, offset_);
    const maskw better = (determinant_ > set(0.0f)) & (candidate_error < best_error_) & ~best_.flat;
    best_error_ = select(better, candidate_error, best_error_);
    best_.scale = select(better, scale_, best_.scale);
    best_.inverse_scale = select(better, inverse_scale_, best_.inverse_scale);
    best_.origin = select(better, lowest_, best_.origin);
    lowest_ = select(better, offset_, lowest_);  // ggml's later candidates start from the better minimum
    prepare(next_levels);
  }

  ScaleMin result() const {
    ScaleMin best = best_;
    best.min = neg(lowest_);
    best.scale = select(best.flat, set(0.0f), best.scale);
    return best;
  }

 private:
  void prepare(float levels) {
    levels_ = levels;
    inverse_scale_ = set(levels) / (range_.highest - lowest_);
  }

  template <class Use>
  void encode(const Use& use) {
    if (within(limits_, most_at_low_, least_at_high_) || limit_weights()) {
      encode_with(limited_, use, [](f32w v) { return round(v); });
    } else {
      encode_with(x_, use, [](f32w v) { return to_f32(nearest_int(v, 0, kMaxCode)); });
    }
  }
  template <class Use, class Nearest>
  void encode_with(const f32w* x, const Use& use, const Nearest& nearest) {
    const f32w inverse_scale = inverse_scale_, lowest = lowest_;
    for (int i = 0; i < N; ++i) {
      code_[i] = nearest(inverse_scale * (x[i] - lowest));
      use(i, code_[i]);
    }
  }

  // Whether in all lanes the codes of limited weights, monotonic as they are, round to 0..kMaxCode, and those of moved
  // limits to 0 and kMaxCode.
  bool within(const Range& limits, f32w most_at_low, f32w least_at_high) const {
    const f32w at_low = inverse_scale_ * (limits.lowest - lowest_),
               at_high = inverse_scale_ * (limits.highest - lowest_);
    const maskw good =
        (at_low >= set(-0.5f)) & (at_low <= most_at_low) & (at_high > least_at_high) & (at_high < set(kMaxCode + 0.5f));
    return !any(~(good | best_.flat));
  }

  // New limits, for this candidate and those like it; false where there are none. Codes of what is moved stay out of
  // where nearest_int is no rounding: while low_ and high_ keep within, no scale grows by more than 2 (kMaxCode + 1).
  bool limit_weights() {
    constexpr float kFar = 0x1p14f;
    const f32w span = range_.highest - lowest_;
    const Range limits{max(range_.lowest, lowest_),
                       min(range_.highest, lowest_ + set((kMaxCode - 0.3f) / levels_) * span)};
    const f32w most_at_low = select(limits.lowest > range_.lowest, set(0.5f), set(kMaxCode - 0.5f));
    const f32w least_at_high = select(limits.highest < range_.highest, set(kMaxCode - 0.5f), set(0.5f));
    const maskw ordered = (limits.lowest < limits.highest) & (inverse_scale_ * (lowest_ - range_.lowest) < set(kFar));
    if (any(~(ordered | best_.flat)) || !within(limits, most_at_low, least_at_high)) return false;
    for (int i = 0; i < N; ++i) moved_[i] = min(max(x_[i], limits.lowest), limits.highest);
    limited_ = moved_;
    limits_ = limits;
    most_at_low_ = most_at_low;
    least_at_high_ = least_at_high;
    return true;
  }

  f32w error(f32w scale, f32w lowest) const {
    f32w sum = set(0.0f);
    for (int i = 0; i < N; ++i) {
      const f32w difference = scale * code_[i] + lowest - x_[i];
      sum = sum + w_[i] * (kAbsoluteError ? abs(difference) : square(difference));
    }
    return sum;
  }

  const f32w *x_, *w_;
  Range range_;
  f32w sum_w_, sum_x_;
  f32w lowest_;
  ScaleMin best_;
  f32w best_error_;
  const f32w* limited_;
  Range limits_;
  f32w most_at_low_, least_at_high_;
  float levels_;
  f32w inverse_scale_, determinant_, scale_, offset_;  // the candidate's
  f32w code_[N], moved_[N];
};

// Searches kCount sub-blocks, of which x and w hold one after the other. `meanwhile` is called before each fit.
template <int N, int kMaxCode, bool kAbsoluteError, int kCount, class Meanwhile>
inline void search_scale_mins(const f32w* x, const f32w* w, const ScaleMinSearch& search, ScaleMin* found,
                              const Meanwhile& meanwhile) {
  const auto levels = [&](int k) {
    return search.first + search.step * static_cast<float>(k) + static_cast<float>(kMaxCode);
  };
  ScaleMinSearcher<N, kMaxCode, kAbsoluteError> searchers[kCount];
  for (int j = 0; j < kCount; ++j) searchers[j].start(x + N * j, w + N * j, levels(0));
  for (int k = 0; k <= search.steps; ++k) {
    for (auto& searcher : searchers) {
      meanwhile();
      searcher.fit();
    }
    for (auto& searcher : searchers) searcher.judge(levels(k + 1));
  }
  for (int j = 0; j < kCount; ++j) found[j] = searchers[j].result();
}

// x ~ scale * code, code in -kHalf..kHalf-1 ------------------------------------------------------------------------

struct SignedScale {
  f32w scale;
  f32w inverse_scale;
  f32w magnitude;  // the largest of the weights
  maskw zero;      // ggml leaves the biased code at 0, which stands for -kHalf

  template <int kHalf>
  i32w biased_code(f32w x) const {
    return select(zero, set(0), nearest_int(inverse_scale * x, -kHalf, kHalf - 1) + set(kHalf));
  }
};

// As ScaleMinSearcher. Instead of codes, weights are limited: one beyond where all candidates of a half round to the
// outermost code is moved there, which changes none of its codes.
template <int N, int kHalf>
class SignedScaleSearcher {
 public:
  static constexpr int kLast = 18;

  void start(const f32w* x, const f32w* w) {
    x_ = x;
    w_ = w;
    for (int i = 0; i < N; ++i) wx_[i] = w[i] * x[i];
    const Extreme e = extreme<N>(x);
    extreme_ = e.value;
    best_.magnitude = e.magnitude;
    best_.zero = e.magnitude < set(kZeroGroup);
    limit_weights(levels(1), levels(0));
    prepare(0);
    fit(0);
    best_.scale = select(sum_l2_ != set(0.0f), sum_lx_ / sum_l2_, set(0.0f));
    best_gain_ = best_.scale * sum_lx_;
    best_.inverse_scale = inverse_scale_;
  }

  // To be called for 0, 1 ... kLast. |x| <= |extreme| keeps the codes in round's domain, but for lanes of zeros, whose
  // result is masked.
  void fit(int candidate) {
    if (candidate == kFirstAbove) limit_weights(levels(kFirstAbove), levels(kLast));
    const f32w inverse_scale = next_inverse_scale_;
    inverse_scale_ = inverse_scale;
    prepare(candidate + 1);
    f32w sum_lx = set(0.0f), sum_l2 = set(0.0f);
    for (int i = 0; i < N; ++i) {
      const f32w code = round(inverse_scale * limited_[i]);
      sum_lx = sum_lx + wx_[i] * code;
      sum_l2 = sum_l2 + w_[i] * code * code;
    }
    sum_lx_ = sum_lx;
    sum_l2_ = sum_l2;
  }

  void judge() {
    const maskw better = (sum_l2_ > set(0.0f)) & (sum_lx_ * sum_lx_ > best_gain_ * sum_l2_);
    if (!any(better)) return;
    best_.scale = select(better, sum_lx_ / sum_l2_, best_.scale);
    best_gain_ = select(better, best_.scale * sum_lx_, best_gain_);
    best_.inverse_scale = select(better, inverse_scale_, best_.inverse_scale);
  }

  SignedScale result() const {
    SignedScale best = best_;
    best.scale = select(best.zero, set(0.0f), best.scale);
    return best;
  }

 private:
  static constexpr int kFirstAbove = 10;

  // The code of the extreme: kHalf first, then 0.9 to 0.1 less, then 0.1 to 0.9 more.
  static constexpr float levels(int candidate) {
    const int tenths = candidate == 0 ? 0 : candidate < kFirstAbove ? candidate - kFirstAbove : candidate - 9;
    return static_cast<float>(kHalf) + 0.1f * static_cast<float>(tenths);
  }

  // A candidate's division is done while the one before it is tried.
  void prepare(int candidate) { next_inverse_scale_ = set(-levels(candidate)) / extreme_; }

  // The multiple of the extreme whose code has the magnitude `code` for all of `least` to `most` levels.
  static constexpr float multiple(int code, float least, float most) {
    return 0.5f * ((static_cast<float>(code) - 0.5f) / least + (static_cast<float>(code) + 0.5f) / most);
  }
  void limit_weights(float least, float most) {
    const f32w a = set(multiple(kHalf, least, most)) * extreme_;
    const f32w b = set(-multiple(kHalf - 1, least, most)) * extreme_;
    const f32w low = min(a, b), high = max(a, b);
    for (int i = 0; i < N; ++i) limited_[i] = min(max(x_[i], low), high);
  }

  const f32w *x_, *w_;
  f32w wx_[N], limited_[N];
  f32w extreme_;
  SignedScale best_;
  f32w best_gain_;
  f32w next_inverse_scale_;
  f32w inverse_scale_, sum_lx_, sum_l2_;  // the candidate's
};

// Searches kCount sub-blocks, of which x and w hold one after the other. `meanwhile` is called before each fit.
template <int N, int kHalf, int kCount, class Meanwhile>
inline void search_signed_scales(const f32w* x, const f32w* w, SignedScale* found, const Meanwhile& meanwhile) {
  using Searcher = SignedScaleSearcher<N, kHalf>;
  Searcher searchers[kCount];
  for (int j = 0; j < kCount; ++j) searchers[j].start(x + N * j, w + N * j);
  for (int candidate = 1; candidate <= Searcher::kLast; ++candidate) {
    for (auto& searcher : searchers) {
      meanwhile();
      searcher.fit(candidate);
    }
    for (auto& searcher : searchers) searcher.judge();
  }
  for (int j = 0; j < kCount; ++j) found[j] = searchers[j].result();
}

PHIGGUF_END_ISA
