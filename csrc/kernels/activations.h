// Activations as bytes, for the integer matmul.
//
// A row is cut into the weight format's blocks. A block's scale is its largest magnitude / 127 and a code is
// x * (127 / largest), rounded to nearest even, so codes lie in -127..127. A block whose largest magnitude is below
// 2^-119, where 127 / largest could overflow, counts as zeros. A block with a NaN or an infinity gets a NaN for its
// scale, so that every product with it is NaN.
//
// Sums of codes serve what is the same for several weights. The corrections of a block are
//   starts     -centre * the sum over each piece, as a bytesumv: products that start from it are those of codes less
//              the centre, which is the format's zero point, or the middle code where only that keeps sums short
//   min sums   in formats with a minimum: the sum over the block, or, of several sub-blocks, those of two neighbours
//              as the words of one lane, for dot_words
#pragma once

#include "formats/format.h"
#include "kernels/compute_jobs.h"
#include "kernels/largest_magnitude.h"
#include "kernels/rounder.h"

PHIGGUF_BEGIN_ISA

template <class Format>
struct Product {
  static constexpr int kWords = Format::kWidth / 4, kSubWords = Format::kSubWidth / 4;
  static constexpr int kSubBlocks = Format::kWidth / Format::kSubWidth;
  static constexpr bool kWide = Format::kZeroPoint == 128;  // codes use all eight bits
  static constexpr bool kHasMin = Format::kMin != Min::kNone;
  static constexpr bool kPairs = kSubBlocks > 1;  // sub-blocks have scales, and minimums are met two by two
  static constexpr int kLargest = kWide ? 128 : (1 << Format::kCodeBits) - 1;

  static constexpr int words_of_piece(int largest) {
    return most_products(largest, kPairs) < kSubWords ? most_products(largest, kPairs) : kSubWords;
  }
  // Codes are taken as they are, or less their middle.
  static constexpr bool kCentred =
      kHasMin ? kStartsAreFree && words_of_piece(kLargest) < kSubWords : !(kWide && kWideCodesAreSigned);
  static constexpr int kMiddleBit = Format::kCodeBits - 1, kCentre = kCentred ? 1 << kMiddleBit : 0;
  static_assert(kHasMin || !kCentred || kCentre == Format::kZeroPoint);

  // What is summed before it is scaled.
  static constexpr int kPieceWords = words_of_piece(kCentred && !kWide ? kCentre : kLargest);
  static constexpr int kPieces = kWords / kPieceWords;
  static constexpr int kStarts = kCentred ? kPieces : 0;
  static constexpr int kMinSums = !kHasMin ? 0 : kPairs ? kSubBlocks / 2 : 1;
  static constexpr int kCorrections = kStarts + kMinSums;
  static_assert(kCorrections <= Format::kWidth / static_cast<int>(kCorrectionWidth));
};

template <int Width>
inline float quantize_block(const float* x, int8_t* codes) {
  const float extreme = largest_magnitude(x, Width);
  if (!(extreme >= 0x1p-119f)) {
    std::memset(codes, 0, Width);
    return extreme == extreme ? 0.0f : extreme;
  }
  const f32v inverse = set(127.0f / extreme);
  for (int i = 0; i < Width; i += kLanes) {
    store_u8(reinterpret_cast<uint8_t*>(codes) + i, as_bits(load(x + i) * inverse + set(kRounder)));
  }
  return extreme / 127.0f;
}

// The sums of every four codes, in the parts that a bytesumv's lane has. The widest vectors have more lanes than the
// narrowest blocks have fours.
constexpr int kSumParts = static_cast<int>(sizeof(int32_t) / sizeof(sumpart));
template <int Width>
inline void sum_fours(const int8_t* codes, sumpart* sums) {
  constexpr int kFours = Width / 4, kStep = kFours < kLanes ? kFours : kLanes;
  for (int i = 0; i < kFours; i += kStep) {
    int32_t lanes[kLanes] = {};
    std::memcpy(lanes, codes + 4 * i, 4 * kStep);
    store(lanes, as_lanes(multiply_bytes(set(0x01010101), load(lanes))));
    std::memcpy(sums + kSumParts * i, lanes, 4 * kStep);
  }
}

template <class Format>
class BlockCorrections {
  using P = Product<Format>;

 public:
  explicit BlockCorrections(const int8_t* codes) { sum_fours<Format::kWidth>(codes, fours_); }

  void write(int32_t* out) const {
    for (int i = 0; i < P::kStarts; ++i) out[i] = start(i);
    for (int i = 0; i < P::kMinSums; ++i) out[P::kStarts + i] = P::kPairs ? pair_sum(i) : sum(0);
  }

 private:
  int32_t start(int piece) const {
    sumpart parts[kSumParts];
    for (int part = 0; part < kSumParts; ++part) {
      int32_t sum = 0;
      for (int q = 0; q < P::kPieceWords; ++q) sum += fours_[kSumParts * (P::kPieceWords * piece + q) + part];
      parts[part] = static_cast<sumpart>(-P::kCentre * sum);
    }
    int32_t lane;
    std::memcpy(&lane, parts, sizeof lane);
    return lane;
  }

  int32_t sum(int sub_block) const {
    constexpr int kParts = kSumParts * P::kSubWords;
    int32_t sum = 0;
    for (int i = 0; i < kParts; ++i) sum += fours_[kParts * sub_block + i];
    return sum;
  }

  int32_t pair_sum(int i) const {
    const auto low = static_cast<uint32_t>(sum(2 * i)), high = static_cast<uint32_t>(sum(2 * i + 1));
    return static_cast<int32_t>((low & 0xffff) | high << 16);
  }

  sumpart fours_[kSumParts * P::kWords];
};

// Whether so many tokens are multiplied in tiles, which take codes less the zero point, so that products need no start.
// Fewer are multiplied faster in vectors.
inline bool fill_tiles(size_t tokens) {
  constexpr size_t kFewest = 13;
  return kHasTiles && tokens >= kFewest;
}

// Token `token` of all.tokens.
template <class Format>
inline void quantize_activations(const float* x, size_t cols, size_t token, const Activations& all) {
  const bool corrected = Product<Format>::kHasMin || !fill_tiles(all.tokens);
  for (size_t b = 0; b < cols / Format::kWidth; ++b) {
    const size_t block = b * all.tokens + token;
    int8_t* codes = all.codes + block * Format::kWidth;
    all.scales[block] = quantize_block<Format::kWidth>(x + b * Format::kWidth, codes);
    if (corrected) BlockCorrections<Format>(codes).write(all.corrections + block * Product<Format>::kCorrections);
  }
}

PHIGGUF_END_ISA
