// Products of quantized weights and byte activations, exact in int32 within a block.
//
// For one output, block by block in order, with the activations' scale dx, codes x and sub-block sums s:
//   acc = fma(scale * dx, float(sum_j sub_scale[j] * (dot(code_j, x_j) - zero point * s_j)), acc)
//   acc = fma(-+min * dx, float(sum_j sub_min[j] * s_j), acc)                        in formats with a minimum
// A lane is a weight row. A block of kRows rows is decoded once, four codes to a lane, and meets every token in turn:
// an activation's four codes are broadcast to all lanes, so that no sum ever crosses lanes.
//
// int32 holds every sum for any bytes of a file. The largest is Q6_K's: 16 sub-blocks of |sub_scale| <= 128 times
// 16 products of |code - 32| <= 32 and |x| <= 127 are below 2^27; a sum over mins is at most 63 * 127 * 256 < 2^21.
#pragma once

#include "kernels/activations.h"
#include "kernels/matmul_output.h"
#include "kernels/unroll.h"

PHIGGUF_BEGIN_ISA

constexpr int kRowVectors = 2;                     // share every broadcast
constexpr int kRows = kRowVectors * kLanes;        // decoded together
constexpr int kMostTokens = kLanes == 16 ? 6 : 4;  // multiplied together, as registers allow
constexpr size_t kTokensAtOnce = 256;              // whose sums wait on the stack between blocks

// One block of kLanes rows.
template <class Format>
struct RowBlocks {
  using P = Product<Format>;
  FieldWords<Format, i32v> fields;
  f32v scale, min;
  i32v sub_scale[P::kSubBlocks];  // as byte_scale gives them; with several sub-blocks only, like
  i32v pair[P::kCorrections];     // what the corrections multiply: two words in each lane

  // The block at `first` and those of the following rows, of which there are `rows` at least once.
  void load(const uint8_t* first, size_t row_bytes, size_t rows) {
    if (rows >= kLanes) {
      unpack(LaneBytes(first, row_bytes));
    } else {
      typename Format::Block blocks[kLanes];  // the last row stands in for those that do not exist
      for (size_t l = 0; l < kLanes; ++l) {
        std::memcpy(&blocks[l], first + (l < rows ? l : rows - 1) * row_bytes, sizeof blocks[l]);
      }
      unpack(LaneBytes(reinterpret_cast<const uint8_t*>(blocks), sizeof blocks[0]));
    }
  }

 private:
  void unpack(const LaneBytes& bytes) {
    Format::unpack(bytes, fields);
    scale = from_f16(fields.scale);
    min = from_f16(fields.min);
    if constexpr (Format::kMin == Min::kSubtracted) min = neg(min);
    if constexpr (P::kWide && kWideCodesAreSigned) {
      for (i32v& four : fields.code) four = four ^ repeat<i32v>(0x80808080u);
    }
    if constexpr (P::kPairs) {
      for (int j = 0; j < P::kSubBlocks; ++j) sub_scale[j] = byte_scale(fields.sub_scale[j / 4], j % 4);
      const i32v* corrected = P::kHasMin ? fields.sub_min : fields.sub_scale;
      for (int j = 0; j < P::kCorrections; ++j) pair[j] = byte_pair(corrected[j / 2], j % 2);
    }
  }
};

// Four bytes of one token, the same in every lane.
inline i32v broadcast_bytes(const int8_t* codes) {
  int32_t word;
  std::memcpy(&word, codes, sizeof word);
  return set(word);
}

// A block of several tokens, which lie side by side.
template <class Format>
struct TokenBlocks {
  const int8_t* codes;
  const int32_t* corrections;
  const float* scales;

  TokenBlocks(const Activations& all, size_t block, size_t token) {
    const size_t first = block * all.tokens + token;
    codes = all.codes + first * Format::kWidth;
    corrections = all.corrections + first * Product<Format>::kCorrections;
    scales = all.scales + first;
  }
  i32v code(int token, int q) const { return broadcast_bytes(codes + Format::kWidth * token + 4 * q); }
  i32v correction(int token, int j) const { return set(corrections[Product<Format>::kCorrections * token + j]); }
};

// Sums that stay in registers, one for each of kRowVectors row vectors and `Tokens` tokens. Compilers keep an array in
// registers only where every index is a constant before their loop passes, hence the unrolling by hand.
template <class Sum, int Tokens>
struct RegisterTile {
  Sum sums[kRowVectors * Tokens];

  // visit(sum, r, t)
  template <class Visit>
  PHIGGUF_INLINE void each(const Visit& visit) {
    unroll<kRowVectors * Tokens>([&](auto i) PHIGGUF_INLINE { visit(sums[i], i % kRowVectors, i / kRowVectors); });
  }
};

// Everything about one block of kRows rows and `Tokens` tokens.
template <class Format, int Tokens>
class BlockProduct {
  using P = Product<Format>;
  using Rows = RowBlocks<Format>[kRowVectors];

 public:
  BlockProduct(const Rows& rows, const TokenBlocks<Format>& x) : rows_(rows), x_(x) {}

  // acc[kRowVectors * t + r]
  PHIGGUF_INLINE void add_to(f32v* acc) const {
    RegisterTile<i32v, Tokens> total;
    total.each([&](i32v& sum, int r, int t) { sum = first_sum(r, t); });
    for (int j = 0; j < P::kSubBlocks; ++j) add_sub_block(j, total);
    total.each([&](i32v& sum, int r, int t) {
      const f32v dx = set(x_.scales[t]);
      f32v& out = acc[kRowVectors * t + r];
      out = fma(rows_[r].scale * dx, to_f32(sum), out);
      if constexpr (P::kHasMin) out = fma(rows_[r].min * dx, to_f32(corrected(r, t)), out);
    });
  }

 private:
  // What is the same for all weights of a sub-block, summed over sub-blocks.
  i32v corrected(int r, int t) const {
    if constexpr (P::kPairs) {
      i32v sum = set(0);
      for (int j = 0; j < P::kCorrections; ++j) sum = dot_words(sum, rows_[r].pair[j], x_.correction(t, j));
      return sum;
    } else {
      return x_.correction(t, 0);
    }
  }

  i32v first_sum(int r, int t) const {
    if constexpr (P::kZeroPoint == 0) {
      return set(0);
    } else if constexpr (P::kPairs) {
      constexpr int kShift = Format::kCodeBits - 1;  // the zero point is the middle of the codes
      static_assert(P::kZeroPoint == 1 << kShift);
      return corrected(r, t) << kShift;
    } else {
      return corrected(r, t);
    }
  }

  PHIGGUF_INLINE void add_sub_block(int j, RegisterTile<i32v, Tokens>& total) const {
    constexpr int kRoom = most_products(P::kWide ? 128 : (1 << Format::kCodeBits) - 1);
    constexpr int kStep = P::kSubWords < kRoom ? P::kSubWords : kRoom;
    for (int first = P::kSubWords * j; first < P::kSubWords * (j + 1); first += kStep) {
      RegisterTile<bytesumv, Tokens> products;
      products.each(
          [&](bytesumv& sum, int r, int t) { sum = multiply(rows_[r].fields.code[first], x_.code(t, first)); });
      for (int q = first + 1; q < first + kStep; ++q) {
        products.each([&](bytesumv& sum, int r, int t) { sum = add(sum, rows_[r].fields.code[q], x_.code(t, q)); });
      }
      unroll<kRowVectors * Tokens>([&](auto i) PHIGGUF_INLINE {
        i32v& sum = total.sums[i];
        const bytesumv product = products.sums[i];
        sum = P::kPairs ? add_scaled(sum, product, rows_[i % kRowVectors].sub_scale[j]) : add_sum(sum, product);
      });
    }
  }

  static bytesumv multiply(i32v codes, i32v x) {
    return P::kWide ? multiply_wide_bytes(codes, x) : multiply_bytes(codes, x);
  }
  static bytesumv add(bytesumv sum, i32v codes, i32v x) {
    return P::kWide ? add_wide_products(sum, codes, x) : add_products(sum, codes, x);
  }

  const Rows& rows_;
  const TokenBlocks<Format>& x_;
};

// Adds the products of a block of kRows rows and of n <= kMostTokens tokens.
template <class Format, int Tokens = kMostTokens>
inline void add_products_of(const RowBlocks<Format> (&rows)[kRowVectors], const TokenBlocks<Format>& x, size_t n,
                            f32v* acc) {
  if (n == Tokens) {
    BlockProduct<Format, Tokens>(rows, x).add_to(acc);
  } else if constexpr (Tokens > 1) {
    add_products_of<Format, Tokens - 1>(rows, x, n, acc);
  }
}

// Asks for a part of the kRows rows that come next, a share of it from each of several streams: no stream is followed
// past the end of its page, and one does not fill the memory bus.
inline void fetch_rows(const uint8_t* rows, size_t row_bytes, size_t begin, size_t size) {
  constexpr size_t kStreams = 4, kRowsEach = (kRows + kStreams - 1) / kStreams, kCacheLine = 64;
  for (size_t i = 0; i < kRowsEach * size; i += kCacheLine) {
    for (size_t first = 0; first < kRows; first += kRowsEach) {
      __builtin_prefetch(rows + first * row_bytes + kRowsEach * begin + i, 0, 2);
    }
  }
}

// Rows row .. row + kRows - 1 (those that exist) times tokens first .. first + n - 1.
template <class Format>
inline void multiply_rows(const MatmulJob& job, size_t row, size_t first, size_t n, f32v* acc) {
  constexpr size_t kBlockBytes = sizeof(typename Format::Block);
  const size_t blocks = job.cols / Format::kWidth, row_bytes = blocks * kBlockBytes, left = job.rows - row;
  const uint8_t* weights = job.weights + row * row_bytes;
  for (size_t i = 0; i < n * kRowVectors; ++i) acc[i] = set(0.0f);
  const size_t pieces = (n + kMostTokens - 1) / kMostTokens;  // of nearly equal numbers of tokens
  for (size_t b = 0; b < blocks; ++b) {
    fetch_rows(weights + kRows * row_bytes, row_bytes, b * kBlockBytes, kBlockBytes);
    RowBlocks<Format> rows[kRowVectors];
    for (size_t r = 0; r < kRowVectors; ++r) {
      const size_t above = r * kLanes < left ? r * kLanes : 0;  // rows that do not exist repeat the first ones
      rows[r].load(weights + above * row_bytes + b * kBlockBytes, row_bytes, left - above);
    }
    for (size_t piece = 0; piece < pieces; ++piece) {
      const size_t begin = piece * n / pieces, end = (piece + 1) * n / pieces;
      const TokenBlocks<Format> x(job.activations, b, first + begin);
      add_products_of<Format>(rows, x, end - begin, acc + kRowVectors * begin);
    }
  }
}

template <class Format>
inline void matmul_blocks(const MatmulJob& job) {
  f32v acc[kTokensAtOnce * kRowVectors];
  for (size_t row = 0; row < job.rows; row += kRows) {
    for (size_t first = 0; first < job.tokens; first += kTokensAtOnce) {
      const size_t n = job.tokens - first < kTokensAtOnce ? job.tokens - first : kTokensAtOnce;
      multiply_rows<Format>(job, row, first, n, acc);
      for (size_t i = 0; i < n * kRowVectors; ++i) {
        const size_t lane_row = row + i % kRowVectors * kLanes;
        if (lane_row < job.rows) store_products(job, lane_row, first + i / kRowVectors, acc[i]);
      }
    }
  }
}

PHIGGUF_END_ISA
