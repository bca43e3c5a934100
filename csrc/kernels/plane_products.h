// Products of attention's codes in tiles of byte products: a code is 64 * high + low, in two planes of bytes.
#pragma once

#include "kernels/attention_rows.h"

PHIGGUF_BEGIN_ISA

inline i32v high_bytes(i32v words) { return words >> 6; }
inline i32v low_bytes(i32v words) { return words & set(63); }

template <size_t kTileCodes>
class PlaneProducts {
  static constexpr size_t kTileBytes = 64;  // of a row
  static_assert(kMostCodeDimensions == 2 * kTileBytes && kKeys % kTileBytes == 0);

 public:
  static constexpr size_t kRows = kTileCodes, kColumns = kTileBytes;
  static constexpr size_t kPositions = 4, kPositionStep = kTileBytes / kPositions;
  static constexpr int kWeightVectors = 4;  // of sixteen positions
  static constexpr bool kReadsFew = false;

  static size_t floats(size_t rows, size_t width) {
    return (whole_runs(rows) * (kMostCodeDimensions + kKeys) + kKeys * (larger(width, kTileBytes) + width)) / 2;
  }

  PlaneProducts(float* memory, size_t rows, size_t width)
      : width_(width), key_plane_(kKeys * larger(width, kTileBytes)) {
    queries_ = reinterpret_cast<int8_t*>(memory);
    weights_ = queries_ + whole_runs(rows) * 2 * kMostCodeDimensions;
    keys_ = weights_ + whole_runs(rows) * 2 * kKeys;
    values_ = keys_ + 2 * key_plane_;
  }

  // The dimensions of a first tile; then those of a last one, of which some may be the first's and count as zeros.
  void put_query(size_t row, const int32_t (&codes)[kMostCodeDimensions]) const {
    int8_t* query = queries_ + row * 2 * kMostCodeDimensions;
    std::memset(query, 0, 2 * kMostCodeDimensions);
    for (size_t d = 0; d < width_; d += kLanes) {
      put_bytes(load(codes + d), query + (d < kTileBytes ? d : kMostCodeDimensions - width_ + d), kMostCodeDimensions);
    }
  }
  // A whole tile's, of which four that are kPositionStep apart come to lie side by side.
  void put_weights(size_t row, size_t j, const i32v* codes) const {
    put_quad(codes, weights_ + row * 2 * kKeys + j, kKeys);
  }
  // Some dimensions, whole fours, of kLanes keys.
  template <size_t kDimensions>
  void put_keys(size_t j, size_t d, const i32v (&codes)[kDimensions]) const {
    for (size_t i = 0; i < kDimensions; i += 4) put_quad(&codes[i], keys_ + (d + i) * kKeys + 4 * j, key_plane_);
  }
  template <class Use>
  static void for_positions(Interval seen, const Use& use) {
    for (size_t tile = 0; tile < seen.end; tile += kTileBytes) {
      for (size_t j = 0; j < kPositionStep; ++j) use(tile + j);
    }
  }
  // Of positions j + i * kPositionStep, j being among the first of these in a tile.
  void put_values(size_t j, size_t d, const i32v (&codes)[kPositions]) const {
    const size_t quad = j / kTileBytes * kPositionStep + j % kTileBytes;
    put_quad(codes, values_ + 4 * (quad * width_ + d), value_plane());
  }

  // Calls end(row, j, products) for every vector of keys.
  template <class End>
  void multiply_keys(const RowTile& tile, size_t columns, const End& end) const {
    const int8_t *queries = queries_ + tile.rows.begin * 2 * kMostCodeDimensions, *keys = keys_;
    const size_t last = width_ > kTileBytes ? width_ - kTileBytes : 0, plane = key_plane_;
    for_columns(
        tile.count(), columns, last > 0 ? 2 : 1,
        [=](size_t step) PHIGGUF_INLINE {
          return Planes{queries + step * kTileBytes, kMostCodeDimensions, 2 * kMostCodeDimensions};
        },
        [=](size_t step, size_t j)
            PHIGGUF_INLINE { return Planes{keys + step * last * kKeys + 4 * j, plane, 4 * kKeys}; },
        end);
  }
  // Calls end(row, d, sums) for every vector of outputs.
  template <class End>
  void add_values(const RowTile& tile, const End& end) const {
    const int8_t *weights = weights_ + tile.rows.begin * 2 * kKeys, *values = values_;
    const size_t width = width_, plane = value_plane();
    for_columns(
        tile.count(), width, (tile.seen.end + kTileBytes - 1) / kTileBytes,
        [=](size_t step) PHIGGUF_INLINE { return Planes{weights + step * kTileBytes, kKeys, 2 * kKeys}; },
        [=](size_t step, size_t d)
            PHIGGUF_INLINE { return Planes{values + step * kTileBytes * width + 4 * d, plane, 4 * width}; },
        end);
  }

 private:
  using Tiles = PlaneTiles<kTileCodes>;
  using Planes = typename Tiles::Planes;

  size_t value_plane() const { return kKeys * width_; }

  // A vector of columns after another: products of rows_at(step) and columns_at(step, column) are summed in tiles;
  // then, while the next column's are, end(row, column, sums) is called for all rows.
  template <class RowsAt, class ColumnsAt, class End>
  static void for_columns(size_t rows, size_t columns, size_t steps, const RowsAt& rows_at, const ColumnsAt& columns_at,
                          const End& end) {
    typename Tiles::Sums sums;
    const auto finish = [&](size_t column) PHIGGUF_INLINE {
      for (size_t r = 0; r < rows; ++r) end(r, column, sums.total(r));
    };
    const auto add = [&](auto set, auto other, size_t column) PHIGGUF_INLINE {
      set.zero();
      set.add_products(rows_at(0), columns_at(0, column), other, sums);
      for (size_t step = 1; step < steps; ++step) {
        set.add_products(rows_at(step), columns_at(step, column), typename Tiles::NoSet(), sums);
      }
      if (column > 0) finish(column - kLanes);
    };
    const typename Tiles::Even even;
    const typename Tiles::Odd odd;
    for (size_t column = 0; column < columns; column += 2 * kLanes) {
      add(even, odd, column);
      if (column + kLanes < columns) add(odd, even, column + kLanes);
    }
    columns / kLanes % 2 == 1 ? even.store(sums) : odd.store(sums);
    finish(columns - kLanes);
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

  size_t width_, key_plane_;
  int8_t *queries_, *weights_, *keys_, *values_;
  Tiles tiles_;
};

PHIGGUF_END_ISA
