// A block of attention with float32 products, in chains of fma in order.
//
// Vector lanes are keys in the first product and dimensions in the second. For many queries a block's keys are turned
// and its values made floats once, for row_tile.h to multiply; a few queries read both where they lie.
#pragma once

#include "kernels/attention_rows.h"
#include "kernels/row_tile.h"
#include "kernels/turned_rows.h"

PHIGGUF_BEGIN_ISA

constexpr size_t kRun = 32;  // a chain's rounding error grows with its length

class FloatBlocks {
 public:
  FloatBlocks(const AttentionRows& rows, float* scratch) : all_(rows), width_(rows.width()) {
    queries_ = scratch;
    keys_ = queries_ + all_.count() * width_;
    values_ = keys_ + width_ * kKeys;
    weights_ = values_ + kKeys * width_;
    for (size_t row = 0; row < all_.count(); ++row) all_.load_query(row, queries_ + row * width_);
  }

  static size_t scratch_floats(const AttentionRows& rows) {
    return (rows.count() + 2 * kKeys) * rows.width() + rows.count() * kKeys;
  }

  void attend(size_t start, const RowStates& states) const {
    all_.count() <= kTileRows ? attend_where_they_lie(start, states) : attend_turned(start, states);
  }

 private:
  void attend_turned(size_t start, const RowStates& states) const {
    Prefetch next = all_.block_after(start);
    const AttentionJob& job = all_.job();
    const size_t share = kKeys * job.keys.row_bytes * kTileRows / all_.count() / 2;  // each tile is visited twice
    turn_keys(start);
    all_.for_tiles<kTileRows>(start, [&](const RowTile& tile) {
      next.fetch(share);
      multiply_keys(tile);
      weigh(start, tile, states);
    });
    with_rows(job.values, start, smaller(all_.cached() - start, kKeys), values_, [&](const float* values) {
      all_.for_tiles<kTileRows>(start, [&](const RowTile& tile) {
        next.fetch(share);
        add_values(tile, values, states);
      });
    });
  }

  // A few queries: all of them are one tile.
  void attend_where_they_lie(size_t start, const RowStates& states) const {
    const AttentionJob& job = all_.job();
    Prefetch next = all_.block_after(start);
    all_.for_tiles<kTileRows>(start, [&](const RowTile& tile) {
      with_rows(job.keys, start, tile.columns(), keys_, [&](const float* keys) {
        for (size_t j = 0; j < tile.columns(); j += kLanes) multiply_few(keys + j * width_, weights_ + j, next);
      });
      weigh(start, tile, states);
      with_rows(job.values, start, tile.seen.end, values_,
                [&](const float* values) { add_values(tile, values, states); });
    });
  }

  // Calls use(rows) with `count` rows of keys or values in a block, width_ apart: where they lie if that is possible,
  // else decoded to `memory`. Those past the cached ones are in its page too, and can be anything.
  template <class Use>
  void with_rows(const CachedRows& from, size_t start, size_t count, float* memory, const Use& use) const {
    if (all_.holds(Type::F32)) return use(reinterpret_cast<const float*>(all_.address(from, start)));
    all_.decode(from, start, count, memory);
    use(memory);
  }

  // keys_[d][j]
  void turn_keys(size_t start) const {
    const size_t columns = whole_runs(smaller(all_.cached() - start, kKeys));
    with_rows(all_.job().keys, start, columns, values_, [&](const float* rows) {
      for (size_t j = 0; j < columns; j += kLanes) turn_rows(rows + j * width_, width_, width_, keys_ + j, kKeys);
    });
  }

  void multiply_keys(const RowTile& tile) const {
    float* scores = weights_ + tile.rows.begin * kKeys;
    const float* queries = queries_ + tile.rows.begin * width_;
    std::memset(scores, 0, tile.count() * kKeys * sizeof(float));
    for (size_t d = 0; d < width_; d += kRun) {
      const RowProduct<FloatTerms> product{queries, width_, keys_, kKeys, d, smaller(d + kRun, width_), tile.columns()};
      multiply_rows(product, tile.count(), [&](size_t r, size_t j, f32v sum) PHIGGUF_INLINE {
        float* score = scores + r * kKeys + j;
        store(score, load(score) + sum);
      });
    }
  }

  // The scores of kLanes keys, while the next block is on its way.
  void multiply_few(const float* keys, float* scores, Prefetch& next) const {
    const size_t bytes = all_.job().keys.row_bytes * kLanes * kLanes / width_;
    const auto fetch = [&] { next.fetch(bytes); };
    with_constant<kTileRows>(all_.count(), [&](auto n) PHIGGUF_INLINE {
      multiply_turned<n, kRun>(queries_, width_, keys, width_, width_, scores, kKeys, fetch);
    });
  }

  // Turns scores into weights.
  void weigh(size_t start, const RowTile& tile, const RowStates& states) const {
    const size_t columns = tile.columns();
    float* scores = weights_ + tile.rows.begin * kKeys;
    all_.weigh(start, tile, columns, scores, states,
               [&](size_t r, float top) { return weigh(scores + r * kKeys, columns, top); });
  }

  static Partials weigh(float* scores, size_t columns, float top) {
    Partials sum = zero_partials();
    for (size_t j = 0; j < columns; j += kPartials) {
      for (size_t v = 0; v < kVectors; ++v) {
        float* score = scores + j + v * kLanes;
        const f32v weight = exp2_of_negative(load(score) - set(top));
        sum.v[v] = sum.v[v] + weight;
        store(score, weight);
      }
    }
    return sum;
  }

  void add_values(const RowTile& tile, const float* values, const RowStates& states) const {
    const float* weights = weights_ + tile.rows.begin * kKeys;
    const RowProduct<FloatTerms> product{weights, kKeys, values, width_, tile.seen.begin, tile.seen.end, width_};
    multiply_rows(product, tile.count(),
                  [&](size_t r, size_t d, f32v sum) PHIGGUF_INLINE { states.join(tile.rows.begin + r, d, sum); });
  }

  const AttentionRows& all_;
  size_t width_;
  float *queries_, *keys_, *values_, *weights_;
};

PHIGGUF_END_ISA
