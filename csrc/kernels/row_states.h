// What some positions give to rows of queries: o, the sixteen l, and m of each, as attention.h defines them.
#pragma once

#include "kernels/exp.h"
#include "kernels/lane_sums.h"

PHIGGUF_BEGIN_ISA

// n padded to whole runs of sixteen, so that no vector crosses a cache line.
inline size_t whole_runs(size_t n) { return (n + kPartials - 1) / kPartials * kPartials; }

class RowStates {
 public:
  static size_t floats(size_t rows, size_t width) { return rows * (width + kPartials) + 3 * series(rows); }
  RowStates(float* memory, size_t rows, size_t width) : rows_(rows), width_(width), outputs_(memory) {
    highest_ = outputs_ + rows * (width + kPartials);
    old_factors_ = highest_ + series(rows);
    new_factors_ = old_factors_ + series(rows);
  }

  void clear() const {
    std::memset(outputs_, 0, rows_ * (width_ + kPartials) * sizeof(float));
    for (size_t row = 0; row < series(rows_); ++row) highest_[row] = kLowest;
  }

  // The next scores of rows from `first` on have these highest ones; rows that are not concerned have kLowest.
  void meet(size_t first, const float (&tops)[kPartials]) const {
    for (size_t i = 0; i < kPartials; i += kLanes) {
      const f32v old_highest = load(highest_ + first + i), top = load(tops + i), highest = max(top, old_highest);
      store(highest_ + first + i, highest);
      store(old_factors_ + first + i, exp2_of_negative(old_highest - highest));
      store(new_factors_ + first + i, exp2_of_negative(top - highest));
    }
  }
  // Then their sums of weighted values, a vector from dimension d on, and of weights are joined to each of these rows.
  void join(size_t row, size_t d, f32v sum) const {
    float* target = place(row, d);
    store(target, fma(sum, set(new_factors_[row]), load(target) * set(old_factors_[row])));
  }
  void join_weights(size_t row, const Partials& sum) const {
    for (int v = 0; v < kVectors; ++v) join(row, width_ + v * kLanes, sum.v[v]);
  }

  void join(const RowStates& later) const {
    for (size_t first = 0; first < rows_; first += kPartials) {
      float tops[kPartials];
      std::memcpy(tops, later.highest_ + first, sizeof tops);
      meet(first, tops);
    }
    for (size_t row = 0; row < rows_; ++row) {
      for (size_t i = 0; i < width_ + kPartials; i += kLanes) join(row, i, load(later.place(row, i)));
    }
  }

  void finish(size_t row, float* out, size_t head_dim) const {
    const f32v sum = set(tree_sum(load_partials(place(row, width_))));
    for (size_t d = 0; d < width_; d += kLanes) store(place(row, d), load(place(row, d)) / sum + set(0.0f));
    std::memcpy(out, place(row, 0), head_dim * sizeof(float));
  }

  static constexpr float kLowest = -0x1p127f;  // of scores

 private:
  // Room for one number per row, in whole vectors from any row on.
  static size_t series(size_t rows) { return whole_runs(rows) + kPartials; }

  float* place(size_t row, size_t i) const { return outputs_ + row * (width_ + kPartials) + i; }

  size_t rows_, width_;
  float *outputs_, *highest_, *old_factors_, *new_factors_;
};

PHIGGUF_END_ISA
