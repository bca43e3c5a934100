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

// Asks for memory that is read later: a part of the kRows rows that come next, a share of it from each of several
// streams. No stream is followed past the end of its page, and one does not fill the memory bus. A core waits for few
// lines at once and stops when it wants more, so it takes a step of a line from each with every load of what is here.
class RowFetcher {
 public:
  // Bytes begin .. begin + size - 1 of each row, or as many others.
  RowFetcher(const uint8_t* rows, size_t row_bytes, size_t begin, size_t size)
      : next_(rows + kRowsEach * begin), end_(next_ + kRowsEach * size), stream_bytes_(kRowsEach * row_bytes) {}

  void step() {
    if (next_ >= end_) return;
    for (size_t stream = 0; stream < kStreams; ++stream) __builtin_prefetch(next_ + stream * stream_bytes_, 0, 2);
    next_ += kCacheLine;
  }

 private:
  static constexpr size_t kStreams = 4, kRowsEach = (kRows + kStreams - 1) / kStreams, kCacheLine = 64;
  const uint8_t *next_, *end_;
  size_t stream_bytes_;
};

// LaneBytes that fetches something else meanwhile.
class FetchingLaneBytes {
 public:
  FetchingLaneBytes(const uint8_t* first, size_t stride, RowFetcher& fetcher)
      : bytes_(first, stride), fetcher_(fetcher) {}
  void quad(size_t offset, i32v (&words)[4]) const {
    bytes_.quad(offset, words);
    fetcher_.step();
  }

 private:
  LaneBytes bytes_;
  RowFetcher& fetcher_;
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
  void load(const uint8_t* first, size_t row_bytes, size_t rows, RowFetcher& fetcher) {
    if (rows >= kLanes) {
      unpack(FetchingLaneBytes(first, row_bytes, fetcher));
    } else {
      typename Format::Block blocks[kLanes];  // the last row stands in for those that do not exist
      for (size_t l = 0; l < kLanes; ++l) {
        std::memcpy(&blocks[l], first + (l < rows ? l : rows - 1) * row_bytes, sizeof blocks[l]);
      }
      unpack(FetchingLaneBytes(reinterpret_cast<const uint8_t*>(blocks), sizeof blocks[0], fetcher));
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

  // A step of the float chain: the block's products with a token, of which `sum` is the part without minimum.
  f32v add_to(f32v acc, i32v sum, const TokenBlocks<Format>& x, int token) const {
    const f32v dx = set(x.scales[token]);
    acc = fma(scale * dx, to_f32(sum), acc);
    if constexpr (P::kHasMin) acc = fma(min * dx, to_f32(min_product(x, token)), acc);
    return acc;
  }

 private:
  void unpack(const FetchingLaneBytes& bytes) {
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
