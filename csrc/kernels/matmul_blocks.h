// Products of quantized weights and byte activations, exact in int32 within a block.
//
// For one output, block by block in order, with the activations' scale dx, codes x and sub-block sums s:
//   acc = fma(scale * dx, float(sum_j sub_scale[j] * (dot(code_j, x_j) - zero point * s_j)), acc)
//   acc = fma(-+min * dx, float(sum_j sub_min[j] * s_j), acc)                        in formats with a minimum
// A lane is a weight row. A block of rows is decoded once, four codes to a lane, and meets every token: as the codes
// come out, in vectors, or, of many tokens, in tiles where an ISA has them. No sum ever crosses lanes.
//
// int32 holds every sum for any bytes of a file. The largest is Q6_K's: 16 sub-blocks of |sub_scale| <= 128 times
// 16 products of |code - 32| <= 32 and |x| <= 127 are below 2^27; a sum over mins is at most 63 * 127 * 256 < 2^21.
#pragma once

#include "kernels/matmul_output.h"
#include "kernels/sizes.h"
#include "kernels/streamed_products.h"
#include "kernels/tile_products.h"
#include "kernels/vector_products.h"

PHIGGUF_BEGIN_ISA

// Adds products of rows row .. row + kRows - 1 (those that exist) and tokens first .. first + n - 1: blocks from
// `block` on, Products::kBlocks at once, as often as there are so many. Returns the block after them.
template <class Format, class Products>
inline size_t add_blocks(const MatmulJob& job, size_t row, size_t block, size_t first, size_t n, RowFetcher& next_rows,
                         f32v* acc) {
  constexpr size_t kBlocks = Products::kBlocks, kBlockBytes = sizeof(typename Format::Block);
  const size_t blocks = job.cols / Format::kWidth, row_bytes = blocks * kBlockBytes, left = job.rows - row;
  const uint8_t* weights = job.weights + row * row_bytes;
  for (; block + kBlocks <= blocks; block += kBlocks) {
    next_rows.allow(kRows * kBlocks * kBlockBytes);
    RowBlocks<Format> rows[kBlocks][kRowVectors];
    for (size_t i = 0; i < kBlocks * kRowVectors; ++i) {
      const size_t b = i / kRowVectors, r = i % kRowVectors;
      const size_t above = r * kLanes < left ? r * kLanes : 0;  // rows that do not exist repeat the first ones
      rows[b][r].load(weights + above * row_bytes + (block + b) * kBlockBytes, row_bytes, left - above, next_rows);
    }
    Products(rows).add_to(acc, job.activations, block, first, n);
  }
  return block;
}

// Rows row .. row + kRows - 1 (those that exist) times tokens first .. first + n - 1.
template <class Format, class Products>
inline void multiply_rows(const MatmulJob& job, size_t row, size_t first, size_t n, f32v* acc) {
  const size_t chains = (n + Products::kTokens - 1) / Products::kTokens * Products::kTokens;
  for (size_t i = 0; i < chains * kRowVectors; ++i) acc[i] = set(0.0f);
  const size_t row_bytes = job.cols / Format::kWidth * sizeof(typename Format::Block);
  RowFetcher next_rows(job.weights + (row + kRows) * row_bytes, kRows * row_bytes);
  const size_t block = add_blocks<Format, Products>(job, row, 0, first, n, next_rows, acc);
  if constexpr (Products::kBlocks > 1) {
    add_blocks<Format, typename Products::OneByOne>(job, row, block, first, n, next_rows, acc);
  }
}

template <class Format, class Products>
inline void multiply_all(const MatmulJob& job) {
  constexpr size_t kTokensAtOnce = 256;  // whose sums wait on the stack between blocks
  static_assert(kTokensAtOnce % Products::kTokens == 0);
  f32v acc[kTokensAtOnce * kRowVectors];
  for (size_t first = 0; first < job.tokens; first += kTokensAtOnce) {  // whose activations a cache can hold
    for (size_t row = 0; row < job.rows; row += kRows) {
      const size_t n = smaller(kTokensAtOnce, job.tokens - first);
      multiply_rows<Format, Products>(job, row, first, n, acc);
      for (size_t i = 0; i < n * kRowVectors; ++i) {
        const size_t lane_row = row + i % kRowVectors * kLanes;
        if (lane_row < job.rows) store_products(job, lane_row, first + i / kRowVectors, acc[i]);
      }
    }
  }
}

// Rows first .. end - 1 of a job.
template <class Format>
inline MatmulJob rows_of(const MatmulJob& job, size_t first, size_t end) {
  MatmulJob part = job;
  part.weights += first * (job.cols / Format::kWidth) * sizeof(typename Format::Block);
  part.out += first;
  part.rows = end - first;
  return part;
}

template <class Format>
inline void matmul_blocks(const MatmulJob& job) {
  if constexpr (kMostStreamedTokens > 0) {
    if (job.tokens <= kMostStreamedTokens && job.rows >= kLanes) {
      const size_t whole_groups = job.rows / kLanes * kLanes;
      if (whole_groups == job.rows) return multiply_streamed<Format>(job);  // a copy would wait for pending stores
      multiply_streamed<Format>(rows_of<Format>(job, 0, whole_groups));
      return multiply_all<Format, VectorProducts<Format>>(rows_of<Format>(job, whole_groups, job.rows));
    }
  }
  if constexpr (kHasTiles) {
    if (fill_tiles(job.tokens)) {
      using Products = TileProducts<Format>;
      const typename Products::Tiles tiles;
      multiply_all<Format, Products>(job);
      return;
    }
  }
  multiply_all<Format, VectorProducts<Format>>(job);
}

PHIGGUF_END_ISA
