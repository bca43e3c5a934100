// What a product reads: blocks of weight rows, a row in every lane, and the blocks of tokens that they meet.
#pragma once

#include "kernels/activations.h"

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
  i32v code(int token, int q) const { return broadcast_bytes(codes + Format::kWidth * token + 4 * q); }
  i32v correction(int token, int j) const { return set(corrections[Product<Format>::kCorrections * token + j]); }
  bytesumv start(int token, int piece) const { return as_sum(correction(token, piece)); }
  i32v min_sum(int token, int j) const { return correction(token, Product<Format>::kStarts + j); }
};

// One block of kLanes rows.
template <class Format>
struct RowBlocks {
  using P = Product<Format>;
  FieldWords<Format, i32v> fields;
  f32v scale, min;
  i32v sub_scale[P::kSubBlocks];  // as byte_scale gives them; with several sub-blocks only, like
  i32v min_pair[P::kMinSums + 1], scale_pair[P::kMinSums + 1];  // those of two neighbours, as words

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

  // The sums over all sub-blocks of what stands in `pair` and of a token's codes.
  static i32v times_sums(const i32v* pair, const TokenBlocks<Format>& x, int token) {
    i32v sum = set(0);
    for (int j = 0; j < P::kMinSums; ++j) sum = dot_words(sum, pair[j], x.min_sum(token, j));
    return sum;
  }

  // What a block's minimum is multiplied by.
  i32v min_product(const TokenBlocks<Format>& x, int token) const {
    if constexpr (P::kPairs) {
      return times_sums(min_pair, x, token);
    } else {
      return x.min_sum(token, 0);
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
      for (int j = 0; j < P::kMinSums; ++j) {
        min_pair[j] = byte_pair(fields.sub_min[j / 2], j % 2);
        if constexpr (P::kCentred) scale_pair[j] = byte_pair(fields.sub_scale[j / 2], j % 2);
      }
    }
  }
};

PHIGGUF_END_ISA
