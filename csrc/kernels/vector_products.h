// Products in vector registers: one vector of sums for each token and vector of rows. A token's codes are broadcast,
// four at a time, to all lanes.
#pragma once

#include "kernels/register_tile.h"

PHIGGUF_BEGIN_ISA

constexpr int kMostTokens = kLanes == 16 ? 6 : 4;  // multiplied together, as registers allow

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
    total.each([&](i32v& sum, int r, int t) { sum = rows_[r].scales.first_sum(x_, t); });
    for (int j = 0; j < P::kSubBlocks; ++j) add_sub_block(j, total);
    total.each([&](i32v& sum, int r, int t) {
      f32v& out = acc[kRowVectors * t + r];
      out = rows_[r].scales.add_to(out, sum, x_, t);
    });
  }

 private:
  PHIGGUF_INLINE void add_sub_block(int j, RegisterTile<i32v, Tokens>& total) const {
    constexpr int kPieces = P::kPieces / P::kSubBlocks;
    for (int piece = kPieces * j; piece < kPieces * (j + 1); ++piece) {
      const int first = P::kPieceWords * piece;
      RegisterTile<bytesumv, Tokens> products;
      products.each(
          [&](bytesumv& sum, int r, int t) { sum = first_product<Format>(x_, t, piece, rows_[r].code[first]); });
      unroll<P::kPieceWords - 1>([&](auto i) PHIGGUF_INLINE {
        const int q = first + 1 + i;
        products.each(
            [&](bytesumv& sum, int r, int t) { sum = add_product<Format>(sum, rows_[r].code[q], x_.code(t, q)); });
      });
      unroll<kRowVectors * Tokens>([&](auto i) PHIGGUF_INLINE {
        i32v& sum = total.sums[i];
        const bytesumv product = products.sums[i];
        sum = P::kPairs ? add_scaled(sum, product, rows_[i % kRowVectors].sub_scale[j]) : add_sum(sum, product);
      });
    }
  }

  const Rows& rows_;
  const TokenBlocks<Format>& x_;
};

template <class Format>
class VectorProducts {
 public:
  static constexpr size_t kBlocks = 1, kTokens = 1;

  explicit VectorProducts(const RowBlocks<Format> (&rows)[kBlocks][kRowVectors]) : rows_(rows[0]) {}

  // Adds block `block` of tokens first .. first + n - 1, in groups of nearly equal size.
  void add_to(f32v* acc, const Activations& activations, size_t block, size_t first, size_t n) const {
    const size_t groups = (n + kMostTokens - 1) / kMostTokens;
    for (size_t group = 0; group < groups; ++group) {
      const size_t begin = group * n / groups, end = (group + 1) * n / groups;
      add_group(acc + kRowVectors * begin, TokenBlocks<Format>(activations, block, first + begin), end - begin);
    }
  }

 private:
  template <int Tokens = kMostTokens>
  void add_group(f32v* acc, const TokenBlocks<Format>& x, size_t n) const {
    if (n == Tokens) {
      BlockProduct<Format, Tokens>(rows_, x).add_to(acc);
    } else if constexpr (Tokens > 1) {
      add_group<Tokens - 1>(acc, x, n);
    }
  }

  const RowBlocks<Format> (&rows_)[kRowVectors];
};

PHIGGUF_END_ISA
