// Rows of floats to rows of blocks: the loop that feeds a format's quantizer kPairLanes blocks at a time.
//
// Lanes are consecutive blocks, across row ends where need be; a last, partial group repeats its last block. Blocks
// do not depend on one another, so neither that nor the split of rows over threads shows in the bytes.
#pragma once

#include "kernels/encode_unsearched.h"
#include "kernels/kernel_table.h"
#include "kernels/tile.h"

PHIGGUF_BEGIN_ISA

inline Problem check_values(const f32w* x, int n) {
  maskw reachable = abs(x[0]) <= set(kUnreachable);
  for (int i = 1; i < n; ++i) reachable = reachable & (abs(x[i]) <= set(kUnreachable));
  if (!any(~reachable)) return Problem::kNone;
  for (int i = 0; i < n; ++i) {
    if (any(~(abs(x[i]) <= set(0x1.fffffep+127f)))) return Problem::kNotFinite;
  }
  return Problem::kScaleOverflow;
}

inline bool is_finite_f16(uint16_t bits) { return (bits & 0x7c00u) != 0x7c00u; }

// The mean over a row of x^2, summed from left to right as ggml does, for kPairLanes rows at once.
template <class Element>
inline f32w row_mean_squares(const Element* const (&rows)[kPairLanes], size_t cols) {
  constexpr int kColumns = 16;
  f32w sum = set(0.0f);
  for (size_t i = 0; i < cols; i += kColumns) {
    const Element* column[kPairLanes];
    for (int l = 0; l < kPairLanes; ++l) column[l] = rows[l] + i;
    f32w x[kColumns];
    load_columns<kColumns>(column, x);
    for (const f32w& each : x) sum = sum + square(each);
  }
  return sum / set(static_cast<float>(cols));
}

// Encodes at most kPairLanes rows, so that the lanes of one row_mean_squares cover them.
template <class Format, class Element>
struct RowGroupEncoder {
  const Element* source;
  size_t rows, cols;
  const float* importance;
  typename Format::Block* blocks;
  const Element* end;  // of all rows

  static constexpr bool kNeedsRowMeanSquare = Format::Quantizer::kSearches == Searches::kWhenGuided;

  size_t blocks_per_row() const { return cols / Format::kWidth; }

  EncodeStatus run() const {
    float mean_squares[kPairLanes];
    if (kNeedsRowMeanSquare) {
      const Element* row[kPairLanes];
      for (size_t l = 0; l < kPairLanes; ++l) row[l] = source + (l < rows ? l : rows - 1) * cols;
      store(mean_squares, row_mean_squares(row, cols));
    }
    const size_t total = rows * blocks_per_row();
    for (size_t first = 0; first < total; first += kTileBlocks) {
      const size_t count = total - first < kTileBlocks ? total - first : kTileBlocks;
      const EncodeStatus status = run_tile(first, count, mean_squares);
      if (status.problem != Problem::kNone) return status;
    }
    return {Problem::kNone, 0};
  }

 private:
  using Quantizer = typename Format::Quantizer;
  static constexpr size_t kBlocks = Tile<Format>::kBlocks, kTileBlocks = kBlocks * kPairLanes;
  static constexpr size_t kTileWeights = kTileBlocks * Format::kWidth;

  EncodeStatus run_tile(size_t first, size_t count, const float* mean_squares) const {
    Tile<Format> tile;
    load_tile(first, count, mean_squares, tile);
    tile.next = next_of(first, count);
    const Problem problem = check_values(tile.x, tile.kWeights);
    if (problem != Problem::kNone) return {problem, first / blocks_per_row()};

    LaneFields<Format> found[kBlocks];
    for (auto& fields : found) fields.min = set(0);
    if constexpr (Quantizer::kSearches == Searches::kWhenGuided) {
      Quantizer::weighted(tile, found);
    } else if (importance) {
      Quantizer::weighted(tile, found[0]);
    } else {
      Quantizer::plain(tile, found[0]);
    }
    for (size_t b = 0; b < kBlocks && b * kPairLanes < count; ++b) {
      const size_t rest = count - b * kPairLanes;
      const EncodeStatus status = store_lanes(first + b * kPairLanes, rest < kPairLanes ? rest : kPairLanes, found[b]);
      if (status.problem != Problem::kNone) return status;
    }
    return {Problem::kNone, 0};
  }

  // What memory is read after this tile: where the means of rows are taken, the whole group has been read before.
  RowFetcher next_of(size_t first, size_t count) const {
    const Element* next =
        source + (kNeedsRowMeanSquare ? first + rows * blocks_per_row() : first + count) * Format::kWidth;
    if (next >= end) return {};
    const size_t weights = static_cast<size_t>(end - next) < kTileWeights ? end - next : kTileWeights;
    RowFetcher fetcher(reinterpret_cast<const uint8_t*>(next), weights * sizeof(Element));
    fetcher.allow(weights * sizeof(Element));
    return fetcher;
  }

  void load_tile(size_t first, size_t count, const float* mean_squares, Tile<Format>& tile) const {
    size_t row = first / blocks_per_row(), col = first % blocks_per_row() * Format::kWidth;
    for (size_t b = 0; b < kBlocks; ++b) {
      const Element* lane[kPairLanes];
      const float* lane_importance[kPairLanes];
      float lane_mean_square[kPairLanes];
      for (size_t l = 0; l < kPairLanes; ++l) {
        lane[l] = source + row * cols + col;
        lane_importance[l] = importance ? importance + col : nullptr;
        lane_mean_square[l] = kNeedsRowMeanSquare ? mean_squares[row] : 0.0f;
        if (b * kPairLanes + l + 1 >= count) continue;
        col += Format::kWidth;
        if (col == cols) ++row, col = 0;
      }
      load_columns<Format::kWidth>(lane, tile.x + b * Format::kWidth);
      if (!importance) continue;
      load_columns<Format::kWidth>(lane_importance, tile.importance + b * Format::kWidth);
      tile.row_mean_square[b] = load_pair(lane_mean_square);
    }
  }

  EncodeStatus store_lanes(size_t first, size_t count, const LaneFields<Format>& found) const {
    const LaneReader<Format> lanes(found);
    for (size_t l = 0; l < count; ++l) {
      Fields<Format> fields;
      lanes.read(l, fields);
      if (!is_finite_f16(fields.scale) || !is_finite_f16(fields.min)) {
        return {Problem::kScaleOverflow, (first + l) / blocks_per_row()};
      }
      Format::pack(fields, blocks[first + l]);
    }
    return {Problem::kNone, 0};
  }
};

template <class Format, class Element>
inline EncodeStatus encode_searched(const EncodeJob& job) {
  const auto* source = static_cast<const Element*>(job.source);
  auto* blocks = reinterpret_cast<typename Format::Block*>(job.blocks);
  for (size_t row = 0; row < job.rows; row += kPairLanes) {
    const size_t rows = job.rows - row < kPairLanes ? job.rows - row : kPairLanes;
    const RowGroupEncoder<Format, Element> group{
        source + row * job.cols,     rows, job.cols, job.importance, blocks + row * (job.cols / Format::kWidth),
        source + job.rows * job.cols};
    const EncodeStatus status = group.run();
    if (status.problem != Problem::kNone) return {status.problem, row + status.row};
  }
  return {Problem::kNone, 0};
}

template <class Format, class Element>
inline EncodeStatus encode_rows_from(const EncodeJob& job) {
  constexpr Searches kSearches = Format::Quantizer::kSearches;
  if constexpr (kSearches == Searches::kAlways) {
    return encode_searched<Format, Element>(job);
  } else {
    if constexpr (kSearches == Searches::kWhenGuided) {
      if (job.importance) return encode_searched<Format, Element>(job);
    }
    return encode_unsearched<Format, Element>(job);
  }
}

template <class Format>
inline EncodeStatus encode_rows(const EncodeJob& job) {
  switch (job.source_type) {
    case Type::F16:
      return encode_rows_from<Format, float16>(job);
    case Type::BF16:
      return encode_rows_from<Format, bfloat16>(job);
    default:
      return encode_rows_from<Format, float>(job);
  }
}

// Float types -----------------------------------------------------------------------------------------------------

inline i32v to_bf16(f32v x) {
  const i32v bits = as_bits(x);
  return (bits + set(0x7fff) + ((bits >> 16) & set(1))) >> 16;
}

inline void store_as(float* out, f32v x) { store(out, x); }
inline void store_as(float16* out, f32v x) { store_u16(&out->bits, to_f16(x)); }
inline void store_as(bfloat16* out, f32v x) { store_u16(&out->bits, to_bf16(x)); }

// Every target but float16 holds what bfloat16 holds; past these bounds rounding would give infinity.
inline float largest_encodable(float) { return 0x1.fffffep+127f; }
inline float largest_encodable(float16) { return 0x1.ffdffep+15f; }
inline float largest_encodable(bfloat16) { return 0x1.fefffep+127f; }

template <class Target, class Element>
inline EncodeStatus encode_floats_from(const EncodeJob& job) {
  const auto* source = static_cast<const Element*>(job.source);
  auto* target = reinterpret_cast<Target*>(job.blocks);
  const size_t total = job.rows * job.cols;
  const f32v largest_float = set(largest_encodable(0.0f)), largest = set(largest_encodable(Target{}));
  const auto encode = [&](const Element* from, Target* to) {
    const f32v x = load(from);
    store_as(to, x);
    if (any(~(abs(x) <= largest_float))) return Problem::kNotFinite;
    return any(abs(x) > largest) ? Problem::kScaleOverflow : Problem::kNone;
  };
  size_t i = 0;
  for (; i + kLanes <= total; i += kLanes) {
    const Problem problem = encode(source + i, target + i);
    if (problem != Problem::kNone) return {problem, i / job.cols};
  }
  if (i < total) {
    Element padded[kLanes] = {};
    Target encoded[kLanes];
    std::memcpy(padded, source + i, (total - i) * sizeof(Element));
    const Problem problem = encode(padded, encoded);
    if (problem != Problem::kNone) return {problem, i / job.cols};
    std::memcpy(target + i, encoded, (total - i) * sizeof(Target));
  }
  return {Problem::kNone, 0};
}

template <class Target>
inline EncodeStatus encode_floats(const EncodeJob& job) {
  switch (job.source_type) {
    case Type::F16:
      return encode_floats_from<Target, float16>(job);
    case Type::BF16:
      return encode_floats_from<Target, bfloat16>(job);
    default:
      return encode_floats_from<Target, float>(job);
  }
}

PHIGGUF_END_ISA
