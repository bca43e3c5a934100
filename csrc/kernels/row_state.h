// What some positions give to a row of queries: o, the sixteen l, and m, as attention.h defines them.
#pragma once

#include "kernels/exp.h"
#include "kernels/lane_sums.h"

PHIGGUF_BEGIN_ISA

struct Interval {
  size_t begin, end;
};

class RowState {
 public:
  static size_t floats(size_t width) { return width + 2 * kPartials; }
  RowState(float* memory, size_t width) : o_(memory), width_(width) {}

  float* output() const { return o_; }

  void clear() const {
    std::memset(o_, 0, floats(width_) * sizeof(float));
    highest() = -__builtin_inff();
  }

  // Turns the scores of a block into weights. Those of positions that are not seen may be anything.
  void weigh(float* scores, size_t columns, Interval seen) const {
    if (seen.begin >= seen.end) {
      std::memset(scores, 0, columns * sizeof(float));
      return;
    }
    for (size_t j = 0; j < seen.begin; ++j) scores[j] = -__builtin_inff();
    for (size_t j = seen.end; j < columns; ++j) scores[j] = -__builtin_inff();
    const f32v top = set(raise(highest_of(scores, columns)));
    Partials sum = load_partials(sums());
    for (size_t j = 0; j < columns; j += kPartials) {
      for (size_t v = 0; v < kVectors; ++v) {
        const f32v weight = exp_of_negative(load(scores + j + v * kLanes) - top);
        sum.v[v] = sum.v[v] + weight;
        store(scores + j + v * kLanes, weight);
      }
    }
    store_partials(sums(), sum);
  }

  void join(const RowState& later) const {
    if (later.highest() == -__builtin_inff()) return;
    const f32v weight = exp_of_negative(set(later.highest() - raise(later.highest())));
    for (size_t i = 0; i < width_ + kPartials; i += kLanes)
      store(o_ + i, fma(load(later.o_ + i), weight, load(o_ + i)));
  }

  void finish(float* out, size_t head_dim) const {
    const f32v sum = set(tree_sum(load_partials(sums())));
    for (size_t d = 0; d < width_; d += kLanes) store(o_ + d, load(o_ + d) / sum + set(0.0f));
    std::memcpy(out, o_, head_dim * sizeof(float));
  }

 private:
  float* sums() const { return o_ + width_; }
  float& highest() const { return o_[width_ + kPartials]; }

  // Prepares for a new highest score and says what it is.
  float raise(float top) const {
    if (top <= highest()) return highest();
    const f32v factor = exp_of_negative(set(highest() - top));
    for (size_t i = 0; i < width_ + kPartials; i += kLanes) store(o_ + i, load(o_ + i) * factor);
    return highest() = top;
  }

  static float highest_of(const float* scores, size_t columns) {
    f32v tops = load(scores);
    for (size_t j = kLanes; j < columns; j += kLanes) tops = max(load(scores + j), tops);
    return highest_lane(tops);
  }

  float* o_;
  size_t width_;
};

PHIGGUF_END_ISA
