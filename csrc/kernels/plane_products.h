// Products of attention's codes in tiles of byte products: a code is 64 * high + low, in two planes of bytes.
#pragma once

#include "kernels/attention_rows.h"

PHIGGUF_BEGIN_ISA

inline i32v high_bytes(i32v words) { return words >> 6; }
inline i32v low_bytes(i32v words) { return words & set(63); }

template <size_t kTileCodes>
class PlaneProducts {
 public:
  static constexpr size_t kRows = kTileCodes, kPositions = 4, kPositionStep = kKeys / kPositions;
  static constexpr int kWeightVectors = 4;  // of sixteen positions
  static constexpr bool kWholeBlocks = true, kReadsFew = false;

  static size_t floats(size_t rows, size_t width) {
    return (whole_runs(rows) * (kMostCodeDimensions + kKeys) + kKeys * (kMostCodeDimensions + whole_pairs(width))) / 2;
  }

  PlaneProducts(float* memory, size_t rows, size_t width) : width_(width), value_stride_(4 * whole_pairs(width)) {
    queries_ = reinterpret_cast<int8_t*>(memory);
    weights_ = queries_ + whole_runs(rows) * 2 * kMostCodeDimensions;
    keys_ = weights_ + whole_runs(rows) * 2 * kKeys;
    values_ = keys_ + 2 * kKeyPlane;
  }

  void put_query(size_t row, const int32_t (&codes)[kMostCodeDimensions]) const {
    for (size_t d = 0; d < kMostCodeDimensions; d += kLanes) {
      put_bytes(load(codes + d), queries_ + row * 2 * kMostCodeDimensions + d, kMostCodeDimensions);
    }
  }
  // A whole block's, of which four that are kPositionStep apart come to lie side by side.
  void put_weights(size_t row, size_t, const i32v* codes) const { put_quad(codes, weights_ + row * 2 * kKeys, kKeys); }
  // Some dimensions, whole fours, of kLanes keys.
  template <size_t kDimensions>
  void put_keys(size_t j, size_t d, const i32v (&codes)[kDimensions]) const {
    for (size_t i = 0; i < kDimensions; i += 4) put_quad(&codes[i], keys_ + (d + i) * kKeys + 4 * j, kKeyPlane);
  }
  template <class Use>
  static void for_positions(Interval, const Use& use) {
    for (size_t j = 0; j < kPositionStep; ++j) use(j);
  }
  // Of positions j + i * kPositionStep, j being below that.
  void put_values(size_t j, size_t d, const i32v (&codes)[kPositions]) const {
    put_quad(codes, values_ + j * value_stride_ + 4 * d, value_plane());
  }

  // products[row][key], of the rows of a tile
  void multiply_keys(const RowTile& tile, size_t columns, int32_t* products) const {
    const int8_t* queries = queries_ + tile.rows.begin * 2 * kMostCodeDimensions;
    const auto add = [&](size_t j) {
      for (size_t d = 0; d < width_; d += kTileBytes) {
        Tiles::add_products({queries + d, kMostCodeDimensions, 2 * kMostCodeDimensions},
                            {keys_ + d * kKeys + 4 * j, kKeyPlane, 4 * kKeys});
      }
    };
    for_columns(tile, columns, add,
                [&](size_t r, size_t j, i32v sum) PHIGGUF_INLINE { store(products + r * kKeys + j, sum); });
  }
  // Calls end(row, d, sums) for every vector of outputs.
  template <class End>
  void add_values(const RowTile& tile, const End& end) const {
    const typename Tiles::Planes weights{weights_ + tile.rows.begin * 2 * kKeys, kKeys, 2 * kKeys};
    const auto add = [&](size_t d) { Tiles::add_products(weights, {values_ + 4 * d, value_plane(), value_stride_}); };
    for_columns(tile, width_, add, end);
  }

 private:
  using Tiles = PlaneTiles<kTileCodes>;
  static constexpr size_t kTileBytes = 64, kKeyPlane = kKeys * kMostCodeDimensions;
  static_assert(kKeys == kTileBytes);

  static size_t whole_pairs(size_t width) { return (width + 2 * kLanes - 1) / (2 * kLanes) * (2 * kLanes); }
  size_t value_plane() const { return kKeys / 4 * value_stride_; }

  // Two vectors of columns at a time: add(column) sums their products in tiles; then, while the next ones are being
  // summed, end(row, column, sums) is called for every vector.
  template <class Add, class End>
  static void for_columns(const RowTile& tile, size_t columns, const Add& add, const End& end) {
    typename Tiles::Sums sums[2][2];
    size_t done = 0;
    const auto finish = [&](const typename Tiles::Sums(&pair)[2]) PHIGGUF_INLINE {
      for (size_t i = 0; i < 2 && done < columns; ++i, done += kLanes) {
        for (size_t r = 0; r < tile.count(); ++r) end(r, done, pair[i].total(r));
      }
    };
    for (size_t column = 0; column < columns; column += 2 * kLanes) {
      const size_t turn = column / (2 * kLanes) % 2;
      Tiles::zero();
      add(column);
      if (column > 0) finish(sums[1 - turn]);
      Tiles::store(sums[turn]);
    }
    finish(sums[(columns - 1) / (2 * kLanes) % 2]);
  }

  static void put_bytes(i32v codes, int8_t* out, size_t plane) {
    store_u8(reinterpret_cast<uint8_t*>(out), high_bytes(codes));
    store_u8(reinterpret_cast<uint8_t*>(out + plane), low_bytes(codes));
  }
  // Four codes side by side, from the low words of four vectors.
  static void put_quad(const i32v* codes, int8_t* out, size_t plane) {
    const i32v even = pair_words(codes[0], codes[2]), odd = pair_words(codes[1], codes[3]);
    const i32v first_bytes = set(0x00ff00ff), first_codes = set(0x003f003f);
    store(reinterpret_cast<int32_t*>(out), (high_bytes(even) & first_bytes) | ((odd << 2) & (first_bytes << 8)));
    store(reinterpret_cast<int32_t*>(out + plane), (even & first_codes) | ((odd & first_codes) << 8));
  }

  size_t width_, value_stride_;
  int8_t *queries_, *weights_, *keys_, *values_;
  Tiles tiles_;
};

PHIGGUF_END_ISA
