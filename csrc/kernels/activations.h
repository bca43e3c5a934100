// Activations as bytes, for the integer matmul.
//
// A row is cut into the weight format's blocks. A block's scale is its largest magnitude / 127 and a code is
// x * (127 / largest), rounded to nearest even, so codes lie in -127..127. A block whose largest magnitude is below
// 2^-119, where 127 / largest could overflow, counts as zeros. A block with a NaN or an infinity gets a NaN for its
// scale, so that every product with it is NaN.
//
// The sum of codes over each sub-block serves what is the same for all its weights. The corrections are
//   one sub-block, zero point    -zero point * sum, where the dot product begins
//   one sub-block, min           sum
//   several sub-blocks           the sums of two neighbours as the words of one lane, for dot_words; negative in
//                                formats with a zero point
#pragma once

#include "formats/format.h"
#include "kernels/compute_jobs.h"

PHIGGUF_BEGIN_ISA

template <class Format>
struct Product {
  static constexpr int kWords = Format::kWidth / 4, kSubWords = Format::kSubWidth / 4;
  static constexpr int kSubBlocks = Format::kWidth / Format::kSubWidth;
  static constexpr bool kWide = Format::kZeroPoint == 128;  // codes use all eight bits
  static constexpr int kZeroPoint = kWide && kWideCodesAreSigned ? 0 : Format::kZeroPoint;
  static constexpr bool kHasMin = Format::kMin != Min::kNone;
  static constexpr bool kPairs = kSubBlocks > 1;  // sub-blocks are corrected two by two
  static constexpr int kCorrections = kPairs ? kSubBlocks / 2 : 1;
  static_assert(!(kHasMin && kZeroPoint != 0));
};

// The largest magnitude of a block, or NaN where it holds a NaN or an infinity.
template <int Width>
inline float checked_extreme(const float* x) {
  f32v largest = set(0.0f), poison = set(0.0f);
  for (int i = 0; i < Width; i += kLanes) {
    const f32v v = load(x + i);
    largest = max(abs(v), largest);
    poison = poison + (v - v);  // NaN from either
  }
  float magnitude[kLanes], poisoned[kLanes];
  store(magnitude, largest);
  store(poisoned, poison);
  float extreme = 0.0f;
  for (int l = 0; l < kLanes; ++l) {
    if (poisoned[l] != 0.0f) return bits_float(0x7fc00000u);
    extreme = magnitude[l] > extreme ? magnitude[l] : extreme;
  }
  return extreme;
}

template <int Width>
inline float quantize_block(const float* x, int8_t* codes) {
  const float extreme = checked_extreme<Width>(x);
  if (!(extreme >= 0x1p-119f)) {
    std::memset(codes, 0, Width);
    return extreme == extreme ? 0.0f : extreme;
  }
  const f32v inverse = set(127.0f / extreme);
  const f32v rounder = set(0x1.8p23f);  // adding it leaves the nearest integer in the low bits
  for (int i = 0; i < Width; i += kLanes) {
    store_u8(reinterpret_cast<uint8_t*>(codes) + i, as_bits(load(x + i) * inverse + rounder));
  }
  return extreme / 127.0f;
}

// The sums of every four codes. The widest vectors have more lanes than the narrowest blocks have fours.
template <int Width>
inline void sum_fours(const int8_t* codes, int32_t* sums) {
  constexpr int kFours = Width / 4, kStep = kFours < kLanes ? kFours : kLanes;
  for (int i = 0; i < kFours; i += kStep) {
    int32_t lanes[kLanes] = {};
    std::memcpy(lanes, codes + 4 * i, 4 * kStep);
    store(lanes, add_sum(set(0), multiply_bytes(set(0x01010101), load(lanes))));
    std::memcpy(sums + i, lanes, 4 * kStep);
  }
}

template <class Format>
inline void correct_block(const int8_t* codes, int32_t* corrections) {
  using P = Product<Format>;
  int32_t fours[P::kWords], sums[P::kSubBlocks];
  sum_fours<Format::kWidth>(codes, fours);
  for (int j = 0; j < P::kSubBlocks; ++j) {
    sums[j] = 0;
    for (int q = 0; q < P::kSubWords; ++q) sums[j] += fours[P::kSubWords * j + q];
  }
  if constexpr (P::kPairs) {
    const int32_t sign = P::kHasMin ? 1 : -1;
    for (int j = 0; j < P::kCorrections; ++j) {
      const auto low = static_cast<uint32_t>(sign * sums[2 * j]), high = static_cast<uint32_t>(sign * sums[2 * j + 1]);
      corrections[j] = static_cast<int32_t>((low & 0xffff) | high << 16);
    }
  } else {
    corrections[0] = P::kHasMin ? sums[0] : -P::kZeroPoint * sums[0];
  }
}

// Token `token` of all.tokens.
template <class Format>
inline void quantize_activations(const float* x, size_t cols, size_t token, const Activations& all) {
  for (size_t b = 0; b < cols / Format::kWidth; ++b) {
    const size_t block = b * all.tokens + token;
    int8_t* codes = all.codes + block * Format::kWidth;
    all.scales[block] = quantize_block<Format::kWidth>(x + b * Format::kWidth, codes);
    correct_block<Format>(codes, all.corrections + block * Product<Format>::kCorrections);
  }
}

PHIGGUF_END_ISA
