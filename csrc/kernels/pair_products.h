// Products of attention's codes, two to a 32-bit lane.
#pragma once

#include "kernels/attention_rows.h"
#include "kernels/row_tile.h"
#include "kernels/turned_rows.h"

PHIGGUF_BEGIN_ISA

// Lane l of the result is the sum of the lanes of sums[l].
inline i32v lane_totals(const i32v (&sums)[kLanes]) {
  f32v square[kLanes];
  for (int l = 0; l < kLanes; ++l) square[l] = as_floats(sums[l]);
  transpose(square);
  i32v total = as_bits(square[0]);
  for (int i = 1; i < kLanes; ++i) total = total + as_bits(square[i]);
  return total;
}

class PairProducts {
 public:
  static constexpr size_t kRows = kLanes == 16 ? 6 : 4;  // as many as registers allow
  static constexpr size_t kColumns = kPartials, kPositions = 2, kPositionStep = 1;
  static constexpr int kWeightVectors = 1;  // that put_weights takes
  static constexpr bool kReadsFew = true;

  static size_t floats(size_t rows, size_t width) {
    return rows * (width + kMostCodeDimensions + kKeys) / 2 + kKeys * width;
  }

  PairProducts(float* memory, size_t rows, size_t width) : width_(width) {
    keys_ = reinterpret_cast<int32_t*>(memory);
    values_ = keys_ + width / 2 * kKeys;
    query_vectors_ = values_ + kKeys / 2 * width;
    queries_ = reinterpret_cast<int16_t*>(query_vectors_ + rows * kMostCodeDimensions / 2);
    weights_ = queries_ + rows * width;
  }

  void put_query(size_t row, const int32_t (&codes)[kMostCodeDimensions]) const {
    for (size_t d = 0; d < width_; d += kLanes) {
      store_u16(reinterpret_cast<uint16_t*>(queries_ + row * width_ + d), load(codes + d));
    }
    for (size_t d = 0; d < kMostCodeDimensions; d += 2 * kLanes) {
      const i32v pairs = pair_words(load(codes + d), load(codes + d + kLanes));
      store(query_vectors_ + (row * kMostCodeDimensions + d) / 2, pairs);
    }
  }
  void put_weights(size_t row, size_t j, const i32v* codes) const {
    store_u16(reinterpret_cast<uint16_t*>(weights_ + row * kKeys + j), codes[0]);
  }
  // Some dimensions, whole pairs, of kLanes keys.
  template <size_t kDimensions>
  void put_keys(size_t j, size_t d, const i32v (&codes)[kDimensions]) const {
    for (size_t i = 0; i < kDimensions; i += 2) {
      store(keys_ + (d + i) / 2 * kKeys + j, pair_words(codes[i], codes[i + 1]));
    }
  }
  template <class Use>
  static void for_positions(Interval seen, const Use& use) {
    for (size_t j = seen.begin / 2 * 2; j < seen.end; j += 2) use(j);
  }
  // Of positions j and j + 1, j being even.
  void put_values(size_t j, size_t d, const i32v (&codes)[kPositions]) const {
    store(values_ + j / 2 * width_ + d, pair_words(codes[0], codes[1]));
  }

  // Calls end(row, j, products) for every vector of keys.
  template <class End>
  void multiply_keys(const RowTile& tile, size_t columns, const End& end) const {
    const RowProduct<CodeTerms> product{
        queries_ + tile.rows.begin * width_, width_, keys_, kKeys, 0, width_ / 2, columns};
    multiply_rows(product, tile.count(), end);
  }
  // Calls end(row, d, sums) for every vector of outputs.
  template <class End>
  void add_values(const RowTile& tile, const End& end) const {
    const int16_t* weights = weights_ + tile.rows.begin * kKeys;
    const size_t first = tile.seen.begin / 2, last = (tile.seen.end + 1) / 2;
    multiply_rows(RowProduct<CodeTerms>{weights, kKeys, values_, width_, first, last, width_}, tile.count(), end);
  }

  // Calls end(row, products) of all rows, a few, with kLanes keys that encode(key, d) reads where they lie.
  template <class Encode, class End>
  void multiply_few(size_t rows, const Encode& encode, const End& end) const {
    with_constant<kRows>(rows, [&](auto n) PHIGGUF_INLINE { multiply_few<n>(encode, end); });
  }

 private:
  template <int kFew, class Encode, class End>
  void multiply_few(const Encode& encode, const End& end) const {
    i32v sums[kFew][kLanes];
    for (size_t l = 0; l < kLanes; ++l) {
      i32v sum[kFew];
      for (i32v& s : sum) s = set(0);
      for (size_t d = 0; d < width_; d += 2 * kLanes) {
        const i32v key = pair_words(encode(l, d), encode(l, d + kLanes));
        unroll<kFew>([&](auto r) PHIGGUF_INLINE {
          sum[r] = dot_pairs(sum[r], load(query_vectors_ + (r * kMostCodeDimensions + d) / 2), key);
        });
      }
      for (int r = 0; r < kFew; ++r) sums[r][l] = sum[r];
    }
    for (size_t r = 0; r < kFew; ++r) end(r, lane_totals(sums[r]));
  }

  size_t width_;
  int32_t *keys_, *values_, *query_vectors_;
  int16_t *queries_, *weights_;
};

PHIGGUF_END_ISA
