// Products of float weights with several tokens, summed as lane_sums.h says: element k in partial sum k % 16.
//
// A tile is a few weight rows times a few tokens: of each pair one vector of partial sums is in a register, and an ISA
// of fewer than sixteen lanes visits a tile for one vector after another. Columns are taken a stretch at a time, so
// that near caches keep a tile's tokens while rows pass by, and kRows rows while tokens do; between stretches sums wait
// in memory.
#pragma once

#include "kernels/lane_sums.h"
#include "kernels/matmul_output.h"
#include "kernels/sizes.h"
#include "simd/unroll.h"

PHIGGUF_BEGIN_ISA

template <class Element>
class FloatTiles {
 public:
  explicit FloatTiles(const MatmulJob& job)
      : job_(job), weights_(reinterpret_cast<const Element*>(job.weights)), stride_(x_stride(job.cols)) {}

  void multiply() {
    for (size_t token = 0; token < job_.tokens; token += kTokens) {
      const Block tokens{token, smaller(kTokens, job_.tokens - token)};
      for (size_t row = 0; row < job_.rows; row += kRows) {
        const Block rows{row, smaller(kRows, job_.rows - row)};
        for (size_t k = 0; k < job_.cols; k += kStretch) multiply_stretch(rows, tokens, k);
        store_sums(rows, tokens);
      }
    }
  }

 private:
  // Of eight lanes there are sixteen registers: the sums, a tile's rows, one token.
  static constexpr size_t kTileRows = kLanes == 8 ? 3 : 4, kTileTokens = kLanes == 8 ? 4 : 6;
  static constexpr size_t kRows = 8 * kTileRows, kTokens = 5 * kTileTokens, kStretch = 1024;
  static_assert(kRows % kLanes == 0 && kStretch % kPartials == 0);

  struct Block {
    size_t first, count;
  };
  struct Tile {
    const Element* rows[kTileRows];
    const float* x;
    size_t length;  // in columns
    float* sums;
    bool begins;  // sums do, at zero
  };

  // The partial sums of a row and a token, both counted within their blocks.
  float* sums(size_t row, size_t token) { return sums_ + (token * kRows + row) * kPartials; }

  void multiply_stretch(Block rows, Block tokens, size_t k) {
    const size_t tiles = (tokens.count + kTileTokens - 1) / kTileTokens, length = smaller(kStretch, job_.cols - k);
    for (size_t i = 0; i < tiles; ++i) {
      const size_t t = tokens.count * i / tiles, n = tokens.count * (i + 1) / tiles - t;
      for (size_t r = 0; r < rows.count; r += kTileRows) {
        Tile tile{{}, job_.x + (tokens.first + t) * stride_ + k, length, sums(r, t), k == 0};
        for (size_t j = 0; j < kTileRows; ++j) tile.rows[j] = row_at(rows.first + r + j) + k;
        multiply_columns(tile, n);
      }
    }
  }

  // One that does not exist repeats the last.
  const Element* row_at(size_t row) const { return weights_ + smaller(row, job_.rows - 1) * job_.cols; }

  // Whole sixteens of columns where they lie, the last few with zeros after them.
  void multiply_columns(Tile tile, size_t tokens) const {
    const size_t rest = tile.length % kPartials;
    tile.length -= rest;
    if (tile.length > 0) multiply_tile(tile, tokens);
    if (rest == 0) return;
    Element ends[kTileRows][kPartials] = {};
    for (size_t r = 0; r < kTileRows; ++r) {
      std::memcpy(ends[r], tile.rows[r] + tile.length, rest * sizeof(Element));
      tile.rows[r] = ends[r];
    }
    tile.x += tile.length;
    tile.begins = tile.begins && tile.length == 0;
    tile.length = kPartials;
    multiply_tile(tile, tokens);
  }

  void multiply_tile(const Tile& tile, size_t tokens) const {
    unroll<kTileTokens>([&](auto t) PHIGGUF_INLINE {
      if (tokens == t + 1) multiply_tile<t + 1>(tile);
    });
  }

  template <int kN>
  void multiply_tile(Tile tile) const {  // a copy, and one pointer to tokens: else compilers run out of registers
    const size_t stride = stride_;
    for (size_t v = 0; v < kPartials; v += kLanes) {
      const auto place = [&](auto i) PHIGGUF_INLINE {
        return tile.sums + (i / kTileRows * kRows + i % kTileRows) * kPartials + v;
      };
      f32v sum[kN * kTileRows];
      unroll<kN * kTileRows>([&](auto i) PHIGGUF_INLINE { sum[i] = tile.begins ? set(0.0f) : load(place(i)); });
      const float* x = tile.x + v;
      for (size_t k = v; k < tile.length; k += kPartials, x += kPartials) {
        f32v row[kTileRows];
        unroll<kTileRows>([&](auto r) PHIGGUF_INLINE { row[r] = load(tile.rows[r] + k); });
        unroll<kN>([&](auto t) PHIGGUF_INLINE {
          const f32v token = load(x + t * stride);
          unroll<kTileRows>(
              [&](auto r) PHIGGUF_INLINE { sum[t * kTileRows + r] = fma(row[r], token, sum[t * kTileRows + r]); });
        });
      }
      unroll<kN * kTileRows>([&](auto i) PHIGGUF_INLINE { store(place(i), sum[i]); });
    }
  }

  void store_sums(Block rows, Block tokens) {
    for (size_t r = 0; r < rows.count; r += kLanes) {
      for (size_t t = 0; t < tokens.count; ++t) {
        Partials lanes[kLanes];
        for (size_t l = 0; l < kLanes; ++l) lanes[l] = load_partials(sums(smaller(r + l, rows.count - 1), t));
        store_products(job_, rows.first + r, tokens.first + t, tree_sums(lanes));
      }
    }
  }

  const MatmulJob& job_;
  const Element* weights_;
  size_t stride_;  // of tokens
  alignas(64) float sums_[kTokens * kRows * kPartials];
};

PHIGGUF_END_ISA
