// Products of quantized weights and byte activations, exact in int32 within a block.
//
// For one output, block by block in order, with the activations' scale dx, codes x and sub-block sums s:
//   acc = fma(scale * dx, float(sum_j sub_scale[j] * (dot(code_j, x_j) - zero point * s_j)), acc)
//   acc = fma(-+min * dx, float(sum_j sub_min[j] * s_j), acc)                        in formats with a minimum
// A lane is a weight row: kLanes rows are decoded together, four codes to a lane, and an activation's four codes are
// broadcast to all of them, so that no sum ever crosses lanes.
//
// int32 holds every sum for any bytes of a file. The largest is Q6_K's: 16 sub-blocks of |sub_scale| <= 128 times
// 16 products of |code - 32| <= 32 and |x| <= 127 are below 2^27; a sum over mins is at most 63 * 127 * 256 < 2^21.
#pragma once

#include "kernels/activations.h"
#include "kernels/matmul_output.h"

PHIGGUF_BEGIN_ISA

// One block of kLanes rows.
template <class Format>
struct RowBlocks {
  using P = Product<Format>;
  f32v scale, min;
  i32v code[Format::kWidth / 4];  // four codes in each lane
  i32v sub_scale[P::kSubBlocks];  // unused where there is one sub-block
  i32v sub_min[P::kCorrections];  // two words in each lane; with several minimums only
};

// Word q of every row's bytes, in the lanes of words[q].
template <int Count, class Byte>
inline void gather_words(const Byte* const (&bytes)[kLanes], i32v* words) {
  int32_t lanes[Count / 4][kLanes];
  for (int l = 0; l < kLanes; ++l) {
    for (int q = 0; q < Count / 4; ++q) std::memcpy(&lanes[q][l], bytes[l] + 4 * q, 4);
  }
  for (int q = 0; q < Count / 4; ++q) words[q] = load(lanes[q]);
}

// A 32-wide block has fewer words than the widest vectors have lanes; the rest of those squares stays unused.
template <class Format>
inline void interleave_codes(const Fields<Format> (&rows)[kLanes], i32v* code) {
  constexpr int kWords = Format::kWidth / 4, kStep = kWords < kLanes ? kWords : kLanes;
  for (int q = 0; q < kWords; q += kStep) {
    f32v square[kLanes];
    for (int l = 0; l < kLanes; ++l) {
      int32_t words[kLanes] = {};
      std::memcpy(words, rows[l].code + 4 * q, 4 * kStep);
      square[l] = as_floats(load(words));
    }
    transpose(square);
    for (int i = 0; i < kStep; ++i) code[q + i] = as_bits(square[i]);
  }
}

template <class Format>
inline void interleave_sub_blocks(const Fields<Format> (&rows)[kLanes], RowBlocks<Format>& tile) {
  using P = Product<Format>;
  if constexpr (P::kSubBlocks > 1) {
    const int8_t* sub_scale[kLanes];
    for (int l = 0; l < kLanes; ++l) sub_scale[l] = rows[l].sub_scale;
    i32v words[P::kSubBlocks / 4];
    gather_words<P::kSubBlocks>(sub_scale, words);
    for (int j = 0; j < P::kSubBlocks; ++j) tile.sub_scale[j] = (words[j / 4] << (24 - 8 * (j % 4))) >> 24;
  }
  if constexpr (P::kMinPairs) {
    const uint8_t* sub_min[kLanes];
    for (int l = 0; l < kLanes; ++l) sub_min[l] = rows[l].sub_min;
    i32v words[P::kSubBlocks / 4];
    gather_words<P::kSubBlocks>(sub_min, words);
    for (int j = 0; j < P::kCorrections; ++j) {
      const i32v pair = words[j / 2] >> (16 * (j % 2));
      tile.sub_min[j] = (pair & set(0xff)) | ((pair << 8) & set(0xff0000));
    }
  }
}

template <class Format>
inline void load_row_blocks(const typename Format::Block* const (&block)[kLanes], RowBlocks<Format>& tile) {
  Fields<Format> rows[kLanes];
  int32_t scale[kLanes], min[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    Format::unpack(*block[l], rows[l]);
    if constexpr (Product<Format>::kWide && kWideCodesAreSigned) {
      for (uint8_t& code : rows[l].code) code ^= 128;
    }
    scale[l] = rows[l].scale;
    min[l] = rows[l].min;
  }
  tile.scale = from_f16(load(scale));
  const f32v added = from_f16(load(min));
  tile.min = Format::kMin == Min::kSubtracted ? neg(added) : added;
  interleave_codes<Format>(rows, tile.code);
  interleave_sub_blocks<Format>(rows, tile);
}

// Four bytes of one token, the same in every lane.
inline i32v broadcast_bytes(const int8_t* codes) {
  int32_t word;
  std::memcpy(&word, codes, sizeof word);
  return set(word);
}

// Adds the products of one block of kLanes rows and of `Tokens` tokens.
template <class Format, int Tokens>
inline void add_block(const RowBlocks<Format>& rows, const Activations (&x)[Tokens], f32v* acc) {
  using P = Product<Format>;
  constexpr bool kStartsAtCorrection = P::kZeroPoint != 0;
  constexpr int kWords = Format::kSubWidth / 4;
  i32v total[Tokens];
  for (i32v& t : total) t = set(0);
  for (int j = 0; j < P::kSubBlocks; ++j) {
    i32v sum[Tokens];
    for (int t = 0; t < Tokens; ++t) sum[t] = set(kStartsAtCorrection ? x[t].corrections[j] : 0);
    for (int q = kWords * j; q < kWords * (j + 1); ++q) {
      for (int t = 0; t < Tokens; ++t) {
        const i32v codes = broadcast_bytes(x[t].codes + 4 * q);
        sum[t] = P::kWide ? dot_wide_bytes(sum[t], rows.code[q], codes) : dot_bytes(sum[t], rows.code[q], codes);
      }
    }
    for (int t = 0; t < Tokens; ++t) total[t] = P::kSubBlocks == 1 ? sum[t] : total[t] + sum[t] * rows.sub_scale[j];
  }
  for (int t = 0; t < Tokens; ++t) {
    const f32v dx = set(*x[t].scales);
    acc[t] = fma(rows.scale * dx, to_f32(total[t]), acc[t]);
    if constexpr (Format::kMin != Min::kNone) {
      i32v sum = set(P::kMinPairs ? 0 : x[t].corrections[0]);
      for (int j = 0; P::kMinPairs && j < P::kCorrections; ++j) {
        sum = dot_words(sum, rows.sub_min[j], set(x[t].corrections[j]));
      }
      acc[t] = fma(rows.min * dx, to_f32(sum), acc[t]);
    }
  }
}

template <class Format, int Tokens>
inline void add_block_to(const RowBlocks<Format>& rows, const MatmulJob& job, size_t block, size_t token, f32v* acc) {
  Activations x[Tokens];
  for (size_t t = 0; t < Tokens; ++t) {
    const Activations row = Product<Format>::row(job.activations, token + t, job.cols);
    x[t] = {row.codes + block * Format::kWidth, row.corrections + block * Product<Format>::kCorrections,
            row.scales + block};
  }
  add_block<Format, Tokens>(rows, x, acc);
}

// Rows row .. row + kLanes - 1 (those that exist) times tokens first .. first + n - 1.
template <class Format>
inline void multiply_tile(const MatmulJob& job, size_t row, size_t first, size_t n, f32v* acc) {
  const size_t blocks = job.cols / Format::kWidth;
  const auto* weights = reinterpret_cast<const typename Format::Block*>(job.weights);
  for (size_t t = 0; t < n; ++t) acc[t] = set(0.0f);
  for (size_t b = 0; b < blocks; ++b) {
    const typename Format::Block* block[kLanes];
    for (size_t l = 0; l < kLanes; ++l) {
      const size_t lane_row = row + l < job.rows ? row + l : job.rows - 1;
      block[l] = weights + lane_row * blocks + b;
    }
    RowBlocks<Format> rows;
    load_row_blocks<Format>(block, rows);
    size_t t = 0;
    for (; t + 4 <= n; t += 4) add_block_to<Format, 4>(rows, job, b, first + t, acc + t);
    for (; t + 2 <= n; t += 2) add_block_to<Format, 2>(rows, job, b, first + t, acc + t);
    for (; t < n; ++t) add_block_to<Format, 1>(rows, job, b, first + t, acc + t);
  }
}

template <class Format>
inline void matmul_blocks(const MatmulJob& job) {
  constexpr size_t kTokens = 64;  // their codes of one block, 16 KiB at most, stay in L1 beside the rows' own
  f32v acc[kTokens];
  for (size_t row = 0; row < job.rows; row += kLanes) {
    for (size_t first = 0; first < job.tokens; first += kTokens) {
      const size_t n = job.tokens - first < kTokens ? job.tokens - first : kTokens;
      multiply_tile<Format>(job, row, first, n, acc);
      for (size_t t = 0; t < n; ++t) store_products(job, row, first + t, acc[t]);
    }
  }
}

PHIGGUF_END_ISA
