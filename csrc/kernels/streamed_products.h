// Products of a few tokens, whose codes meet them as they come out of a block, without a way through memory.
#pragma once

#include "kernels/matmul_output.h"
#include "kernels/row_blocks.h"
#include "simd/unroll.h"

PHIGGUF_BEGIN_ISA

// Of one block of kLanes rows.
template <class Format, int Tokens>
class StreamedBlock {
  using P = Product<Format>;

 public:
  explicit StreamedBlock(const TokenBlocks<Format>& x) : x_(x) {}

  PHIGGUF_INLINE void add_to(f32v (&acc)[Tokens], const FetchingLaneBytes& bytes) const {
    ScaleWords<Format, i32v> words;
    i32v total[Tokens];
    bytesumv sums[P::kPieces * Tokens];
    unroll<Tokens>([&](auto t) PHIGGUF_INLINE { total[t] = set(0); });
    Format::unpack(bytes, words, [&](auto first, const i32v(&four)[4]) PHIGGUF_INLINE {
      constexpr int kFirst = first;
      unroll<4>([&](auto i) PHIGGUF_INLINE {
        constexpr int kWord = kFirst + i, kPiece = kWord / P::kPieceWords;
        add_word<kWord>(product_codes<Format>(four[i]), sums + kPiece * Tokens);
        if constexpr ((kWord + 1) % P::kPieceWords == 0) add_piece<kPiece>(words, sums + kPiece * Tokens, total);
      });
    });
    const RowScales<Format> scales(words);
    unroll<Tokens>([&](auto t)
                       PHIGGUF_INLINE { acc[t] = scales.add_to(acc[t], scales.first_sum(x_, t) + total[t], x_, t); });
  }

 private:
  template <int Word>
  PHIGGUF_INLINE void add_word(i32v codes, bytesumv* sums) const {
    constexpr int kPiece = Word / P::kPieceWords;
    unroll<Tokens>([&](auto t) PHIGGUF_INLINE {
      if constexpr (Word % P::kPieceWords == 0) {
        sums[t] = first_product<Format>(x_, t, kPiece, codes);
      } else {
        sums[t] = add_product<Format>(sums[t], codes, x_.code(t, Word));
      }
    });
  }

  template <int Piece>
  PHIGGUF_INLINE static void add_piece(const ScaleWords<Format, i32v>& words, const bytesumv* sums, i32v* total) {
    if constexpr (P::kPairs) {
      constexpr int kSubBlock = Piece * P::kSubBlocks / P::kPieces;
      const i32v scale = byte_scale(words.sub_scale[kSubBlock / 4], kSubBlock % 4);
      unroll<Tokens>([&](auto t) PHIGGUF_INLINE { total[t] = add_scaled(total[t], sums[t], scale); });
    } else {
      unroll<Tokens>([&](auto t) PHIGGUF_INLINE { total[t] = add_sum(total[t], sums[t]); });
    }
  }

  TokenBlocks<Format> x_;
};

// Of whole groups of kLanes rows. Fetches the rows after those of the job meanwhile: they are likely to come next.
template <class Format, int Tokens>
inline void multiply_streamed_tokens(const MatmulJob& job) {
  constexpr size_t kBlockBytes = sizeof(typename Format::Block);
  const size_t blocks = job.cols / Format::kWidth, row_bytes = blocks * kBlockBytes;
  RowFetcher next_rows(job.weights + job.rows * row_bytes, job.rows * row_bytes);
  for (size_t row = 0; row < job.rows; row += kLanes) {
    const uint8_t* weights = job.weights + row * row_bytes;
    f32v acc[Tokens];
    for (size_t t = 0; t < Tokens; ++t) {
      acc[t] = set(0.0f);
      __builtin_prefetch(job.out + t * job.out_stride + row, 1);  // no store shall wait for memory
    }
    for (size_t b = 0; b < blocks; ++b) {
      next_rows.allow(kLanes * kBlockBytes);
      const StreamedBlock<Format, Tokens> product(TokenBlocks<Format>(job.activations, b, 0));
      product.add_to(acc, {weights + b * kBlockBytes, row_bytes, next_rows});
    }
    for (size_t t = 0; t < Tokens; ++t) store_products(job, row, t, acc[t]);
  }
}

constexpr int kMostStreamedTokens = kLanes > 1 ? 4 : 0;  // without vectors there is no gain

template <class Format, int Tokens = kMostStreamedTokens>
inline void multiply_streamed(const MatmulJob& job) {
  if constexpr (Tokens > 0) {
    if (job.tokens == Tokens) return multiply_streamed_tokens<Format, Tokens>(job);
    multiply_streamed<Format, Tokens - 1>(job);
  }
}

PHIGGUF_END_ISA
