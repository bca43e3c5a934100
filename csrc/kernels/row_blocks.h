// What a product reads: blocks of weight rows, a row in every lane, and the blocks of tokens that they meet.
#pragma once

#include "kernels/activations.h"
#include "kernels/row_fetcher.h"

PHIGGUF_BEGIN_ISA

constexpr int kRowVectors = 2;               // share what is loaded of a token
constexpr int kRows = kRowVectors * kLanes;  // decoded together

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
  // Those `n` behind.
  TokenBlocks after(size_t n) const {
    TokenBlocks blocks = *this;
    blocks.codes += Format::kWidth * n;
    blocks.corrections += Product<Format>::kCorrections * n;
    blocks.scales += n;
    return blocks;
  }
  i32v code(int token, int q) const { return broadcast_bytes(codes + Format::kWidth * token + 4 * q); }
  i32v correction(int token, int j) const { return set(corrections[Product<Format>::kCorrections * token + j]); }
  bytesumv start(int token, int piece) const { return as_sum(correction(token, piece)); }
  i32v min_sum(int token, int j) const { return correction(token, Product<Format>::kStarts + j); }
};

// LaneBytes that fetches something else meanwhile.
class FetchingLaneBytes {
 public:
  FetchingLaneBytes(const uint8_t* first, size_t stride, RowFetcher& fetcher)
      : bytes_(first, stride), fetcher_(fetcher) {}
  PHIGGUF_INLINE void quad(size_t offset, i32v (&words)[4]) const {
    bytes_.quad(offset, words);
    fetcher_.step();
  }

 private:
  LaneBytes bytes_;
  RowFetcher& fetcher_;
};

// What one block of kLanes rows multiplies its sums of products by.
template <class Format>
class RowScales {
  using P = Product<Format>;

 public:
  RowScales() = default;
  explicit RowScales(const ScaleWords<Format, i32v>& words) : scale_(from_f16(words.scale)), min_(from_f16(words.min)) {
    if constexpr (Format::kMin == Min::kSubtracted) min_ = neg(min_);
    if constexpr (P::kPairs) {
      for (int j = 0; j < P::kMinSums; ++j) {
        min_pair_[j] = byte_pair(words.sub_min[j / 2], j % 2);
        if constexpr (P::kCentred) scale_pair_[j] = byte_pair(words.sub_scale[j / 2], j % 2);
      }
    }
  }

  // Where the sum over a token's sub-blocks begins: a centre that is not the zero point is added again.
  i32v first_sum(const TokenBlocks<Format>& x, int token) const {
    if constexpr (P::kHasMin && P::kCentred) {
      return times_sums(scale_pair_, x, token) << P::kMiddleBit;
    } else {
      return set(0);
    }
  }

  // A step of the float chain: the block's products with a token, of which `sum` is the part without minimum.
  f32v add_to(f32v acc, i32v sum, const TokenBlocks<Format>& x, int token) const {
    const f32v dx = set(x.scales[token]);
    acc = fma(scale_ * dx, to_f32(sum), acc);
    if constexpr (P::kHasMin) acc = fma(min_ * dx, to_f32(min_product(x, token)), acc);
    return acc;
  }

 private:
  // The sums over all sub-blocks of what stands in `pair` and of a token's codes.
  static i32v times_sums(const i32v* pair, const TokenBlocks<Format>& x, int token) {
    i32v sum = set(0);
    for (int j = 0; j < P::kMinSums; ++j) sum = dot_words(sum, pair[j], x.min_sum(token, j));
    return sum;
  }

  // What a block's minimum is multiplied by.
  i32v min_product(const TokenBlocks<Format>& x, int token) const {
    if constexpr (P::kPairs) {
      return times_sums(min_pair_, x, token);
    } else {
      return x.min_sum(token, 0);
    }
  }

  f32v scale_, min_;
  i32v min_pair_[P::kMinSums + 1], scale_pair_[P::kMinSums + 1];  // those of two neighbours, as words
};

// Codes as products take them.
template <class Format>
inline i32v product_codes(i32v four) {
  if constexpr (Product<Format>::kWide && kWideCodesAreSigned) return four ^ repeat<i32v>(0x80808080u);
  return four;
}

template <class Format>
inline bytesumv add_product(bytesumv sum, i32v codes, i32v x) {
  return Product<Format>::kWide ? add_wide_products(sum, codes, x) : add_products(sum, codes, x);
}

// The first product of a piece with one token.
template <class Format>
inline bytesumv first_product(const TokenBlocks<Format>& x, int token, int piece, i32v codes) {
  using P = Product<Format>;
  const i32v first = x.code(token, P::kPieceWords * piece);
  if constexpr (P::kCentred) {
    return add_product<Format>(x.start(token, piece), codes, first);
  } else {
    return P::kWide ? multiply_wide_bytes(codes, first) : multiply_bytes(codes, first);
  }
}

// One block of kLanes rows.
template <class Format>
struct RowBlocks {
  using P = Product<Format>;
  ScaleWords<Format, i32v> words;
  RowScales<Format> scales;
  i32v sub_scale[P::kSubBlocks];  // as byte_scale gives them; with several sub-blocks only
  i32v code[P::kWords];

  // The block at `first` and those of the following rows, of which there are `rows` at least once.
  void load(const uint8_t* first, size_t row_bytes, size_t rows, RowFetcher& fetcher) {
    if (rows >= kLanes) return unpack({first, row_bytes, fetcher});
    typename Format::Block blocks[kLanes];  // the last row stands in for those that do not exist
    for (size_t l = 0; l < kLanes; ++l) {
      std::memcpy(&blocks[l], first + (l < rows ? l : rows - 1) * row_bytes, sizeof blocks[l]);
    }
    unpack({reinterpret_cast<const uint8_t*>(blocks), sizeof blocks[0], fetcher});
  }

 private:
  void unpack(const FetchingLaneBytes& bytes) {
    Format::unpack(bytes, words, [&](int q, const i32v(&four)[4]) PHIGGUF_INLINE {
      for (int i = 0; i < 4; ++i) code[q + i] = product_codes<Format>(four[i]);
    });
    scales = RowScales<Format>(words);
    if constexpr (P::kPairs) {
      for (int j = 0; j < P::kSubBlocks; ++j) sub_scale[j] = byte_scale(words.sub_scale[j / 4], j % 4);
    }
  }
};

PHIGGUF_END_ISA
