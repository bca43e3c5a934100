// ggml's coordinate descent: each code in turn goes to its best value while the others stay, in five rounds at most.
//
// Lanes are as in search.h.
#pragma once

#include "kernels/search.h"

PHIGGUF_BEGIN_ISA

// Sums over the codes of w x l and w l l; their quotient is the least-squares scale.
struct CodeSums {
  f32w lx, l2;

  f32w scale() const { return select(l2 > set(0.0f), lx / l2, set(0.0f)); }
  CodeSums plus(f32w w, f32w wx, f32w code) const { return {lx + wx * code, l2 + w * code * code}; }
  CodeSums minus(f32w w, f32w wx, f32w code) const { return {lx - wx * code, l2 - w * code * code}; }

  // Becomes `next` where that raises lx^2 / l2, and says where.
  maskw improve(const CodeSums& next, maskw usable) {
    const maskw better = usable & (next.lx * next.lx * l2 > lx * lx * next.l2);
    lx = select(better, next.lx, lx);
    l2 = select(better, next.l2, l2);
    return better;
  }
};

// A sub-block that nothing changes in one round cannot change in the next. A move waits for the one before it, so
// several descents take turns. `meanwhile` is called before each turn.
template <int N, class Descent, class Meanwhile>
inline void descend(Descent* descents, int count, const Meanwhile& meanwhile) {
  for (int attempt = 0; attempt < 5; ++attempt) {
    for (int t = 0; t < count; ++t) descents[t].changed = maskw{};
    for (int i = 0; i < N; ++i) {
      meanwhile();
      for (int t = 0; t < count; ++t) descents[t].move(i);
    }
    maskw changed = descents[0].changed;
    for (int t = 1; t < count; ++t) changed = changed | descents[t].changed;
    if (!any(changed)) break;
  }
}

// x >= 0, code in 0..kMaxCode: the scales or the minimums of a super-block -------------------------------------------

template <int N, int kMaxCode>
struct UnsignedDescent {
  f32w x[N], w[N], wx[N], code[N];
  CodeSums sums;
  maskw changed;  // where any code has, in this round

  // ggml keeps these codes in bytes, where a negative candidate wraps, and guards them by the sum without the code.
  void move(int i) {
    const f32w zero = set(0.0f);
    const CodeSums rest = sums.minus(w[i], wx[i], code[i]);
    const i32w rounded = min(set(kMaxCode), nearest_int(x[i] * rest.l2 / rest.lx));
    const f32w candidate = to_f32(rounded);
    const maskw usable = (rest.lx > zero) & (rest.l2 > zero) & (candidate != code[i]);
    const maskw better = sums.improve(rest.plus(w[i], wx[i], candidate), usable);
    code[i] = select(better, to_f32(low_byte(rounded)), code[i]);
    changed = changed | better;
  }
};

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

  UnsignedDescent<N, kMaxCode> d;
  d.sums = {set(0.0f), set(0.0f)};
  for (int i = 0; i < N; ++i) {
    const i32w rounded = min(set(kMaxCode), nearest_int(best * x[i]));
    d.x[i] = x[i];
    d.w[i] = w[i];
    d.wx[i] = w[i] * x[i];
    d.code[i] = to_f32(low_byte(rounded));
    d.sums = d.sums.plus(w[i], d.wx[i], to_f32(rounded));
  }
  descend<N>(&d, 1, [] {});
  for (int i = 0; i < N; ++i) code_out[i] = select(zero, set(0), truncate(d.code[i]));
  return select(zero, set(0.0f), d.sums.scale());
}

// Code in -kHalf..kHalf-1, weighted by x^2: Q3_K without an importance matrix ----------------------------------------

template <int N, int kHalf>
class SignedDescent {
 public:
  maskw changed;  // where any code has, in this round

  void start(const f32w* x) {
    x_ = x;
    const Extreme e = extreme<N>(x);
    magnitude_ = e.magnitude;
    zero_ = e.magnitude < set(kZeroGroup);
    const f32w inverse_scale = select(zero_, set(0.0f), set(static_cast<float>(-kHalf)) / e.value);
    sums_ = {set(0.0f), set(0.0f)};
    for (int i = 0; i < N; ++i) {
      const f32w w = square(x[i]), code = min(round(inverse_scale * x[i]), set(kHighest));
      put(i, w * x[i], code);
      sums_ = {sums_.lx + part_lx_[i], sums_.l2 + w * code * code};
    }
  }

  // Where a first round may move any code; elsewhere all are final. At the start the parts of lx have its sign, so that
  // none of them is greater, and a sum that is not positive keeps all codes.
  maskw unsettled() const {
    maskw all_stay = stays(distance(0), sums_.lx - part_lx_[0]);
    for (int i = 1; i < N; ++i) all_stay = all_stay & stays(distance(i), sums_.lx - part_lx_[i]);
    return (sums_.lx > set(0.0f)) & ~all_stay;
  }

  void move(int i) {
    const f32w rest_lx = sums_.lx - part_lx_[i], distance = this->distance(i);
    const maskw may_move = (rest_lx > set(0.0f)) & ~stays(distance, min(rest_lx, sums_.lx));
    if (!any(may_move)) return;
    const f32w x = x_[i], w = square(x), wx = w * x, code = code_[i];
    const CodeSums rest = sums_.minus(w, wx, code);
    f32w candidate = code + select(may_move, select(distance > set(0.0f), set(1.0f), set(-1.0f)), set(0.0f));
    if (any(may_move & ~is_one_step(distance, rest_lx))) {
      candidate = to_f32(nearest_int(x * rest.l2 / rest.lx, -kHalf, kHalf - 1));
    }
    const CodeSums next = rest.plus(w, wx, candidate);
    const maskw usable = may_move & (next.l2 > set(0.0f)) & (candidate != code);
    const maskw better = sums_.improve(next, usable);
    changed = changed | better;
    put(i, wx, select(better, candidate, code));
  }

  f32w magnitude() const { return magnitude_; }
  f32w scale() const { return sums_.scale(); }
  i32w biased_code(int i) const { return select(zero_, set(0), truncate(code_[i]) + set(kHalf)); }

 private:
  static constexpr float kLowest = -kHalf, kHighest = kHalf - 1;

  void put(int i, f32w wx, f32w code) {
    code_[i] = code;
    part_lx_[i] = wx * code;
  }

  // The candidate for code i is the rounded quotient of x and the scale without i, which is the code and
  // (x l2 - code lx) / rest_lx. Comparing these two tells most candidates without a division: with more room than the
  // rounding errors of all of it take, those of denormal sums among them.
  static constexpr float kRoom = 1e-4f;
  f32w error() const { return set(1e-5f) * sums_.lx + set(0x1p-100f); }

  // x l2 - code lx, or less where the quotient lies beyond all codes.
  f32w distance(int i) const {
    const f32w lx = sums_.lx;
    return max(min(x_[i] * sums_.l2, set(kHighest) * lx), set(kLowest) * lx) - code_[i] * lx;
  }
  maskw stays(f32w distance, f32w rest_lx) const { return abs(distance) < set(0.5f - kRoom) * rest_lx - error(); }
  maskw is_one_step(f32w distance, f32w rest_lx) const {
    return (abs(distance) > set(0.5f + kRoom) * rest_lx + error()) &
           (abs(distance) < set(1.5f - kRoom) * min(rest_lx, sums_.lx) - error());
  }

  const f32w* x_;
  f32w magnitude_;
  maskw zero_;
  f32w code_[N], part_lx_[N];
  CodeSums sums_;
};

// Sub-blocks that a first round may change, picked out of all lanes: about one in five.
template <int N, int kHalf, int kSubBlocks>
class UnsettledSubBlocks {
 public:
  void add(int j, maskw unsettled) {
    int32_t flags[kPairLanes];
    store(flags, select(unsettled, set(1), set(0)));
    for (int l = 0; l < kPairLanes; ++l) {
      found_[count_] = j * kPairLanes + l;
      count_ += flags[l];
    }
  }

  // Replaces their scales, those of sub-block j being scales[j], by those that they end at.
  template <class Meanwhile>
  void descend_all(const f32w* x, f32w* scales, const Meanwhile& meanwhile) {
    constexpr int kMostTurns = 2;
    while (count_ % kPairLanes != 0) found_[count_++] = found_[0];
    for (int first = 0; first < count_; first += kMostTurns * kPairLanes) {
      const int32_t* found = found_ + first;
      const int left = (count_ - first) / kPairLanes, turns = left < kMostTurns ? left : kMostTurns;
      SignedDescent<N, kHalf> descents[kMostTurns];
      f32w picked[kMostTurns][N];
      for (int t = 0; t < turns; ++t) {
        pick(x, found + kPairLanes * t, picked[t]);
        descents[t].start(picked[t]);
      }
      descend<N>(descents, turns, meanwhile);
      for (int t = 0; t < turns; ++t) put_back(descents[t].scale(), found + kPairLanes * t, scales);
    }
  }

 private:
  static void pick(const f32w* x, const int32_t* found, f32w* picked) {
    int32_t at[kPairLanes];
    for (int l = 0; l < kPairLanes; ++l) at[l] = found[l] / kPairLanes * N * kPairLanes + found[l] % kPairLanes;
    for (int i = 0; i < N; ++i) picked[i] = gather(reinterpret_cast<const float*>(x + i), load_pair(at));
  }

  static void put_back(f32w scale, const int32_t* found, f32w* scales) {
    float lanes[kPairLanes];
    store(lanes, scale);
    for (int l = 0; l < kPairLanes; ++l) {
      std::memcpy(reinterpret_cast<char*>(scales) + sizeof(float) * found[l], &lanes[l], sizeof(float));
    }
  }

  int32_t found_[kSubBlocks * kPairLanes + 1];  // sub-block j of lane l as j * kPairLanes + l, and room for one to skip
  int count_ = 0;
};

PHIGGUF_END_ISA
