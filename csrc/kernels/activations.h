// Activations as bytes, for the integer matmul.
//
// A row is cut into the weight format's blocks. A block's scale is its largest magnitude / 127 and a code is
// x * (127 / largest), rounded to nearest even, so codes lie in -127..127. A block whose largest magnitude is below
// 2^-119, where 127 / largest could overflow, counts as zeros. A block with a NaN or an infinity gets a NaN for its
// scale, so that every product with it is NaN.
//
// The sum of codes over each sub-block serves what is the same for all its weights. Per sub-block, a correction is
//   zero point, no min   -zero point * sum, from which the sub-block's dot product starts
//   min, one sub-block   sum
//   min, several         the sums of two neighbours as the words of one lane, for dot_words
#pragma once

#include "formats/format.h"
#include "kernels/compute_jobs.h"

PHIGGUF_BEGIN_ISA

template <class Format>
struct Product {
  static constexpr int kSubBlocks = Format::kWidth / Format::kSubWidth;
  static constexpr bool kWide = Format::kZeroPoint == 128;  // codes use all eight bits
  static constexpr int kZeroPoint = kWide && kWideCodesAreSigned ? 0 : Format::kZeroPoint;
  static constexpr bool kMinPairs = Format::kMin != Min::kNone && kSubBlocks > 1;
  static constexpr int kCorrections = kMinPairs ? kSubBlocks / 2 : kSubBlocks;

  static Activations row(const Activations& all, size_t token, size_t cols) {
    const size_t blocks = cols / Format::kWidth;
    return {all.codes + token * cols, all.corrections + token * (cols / kCorrectionWidth), all.scales + token * blocks};
  }
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

inline int32_t sum_codes(const int8_t* codes, int n) {
  int32_t sum = 0;
  for (int i = 0; i < n; ++i) sum += codes[i];
  return sum;
}

template <class Format>
inline void correct_block(const int8_t* codes, int32_t* corrections) {
  using P = Product<Format>;
  int32_t sums[P::kSubBlocks];
  for (int j = 0; j < P::kSubBlocks; ++j) sums[j] = sum_codes(codes + j * Format::kSubWidth, Format::kSubWidth);
  for (int j = 0; j < P::kCorrections; ++j) {
    if constexpr (P::kMinPairs) {
      const auto low = static_cast<uint32_t>(sums[2 * j] & 0xffff), high = static_cast<uint32_t>(sums[2 * j + 1]);
      corrections[j] = static_cast<int32_t>(low | high << 16);
    } else {
      corrections[j] = Format::kMin == Min::kNone ? -P::kZeroPoint * sums[j] : sums[j];
    }
  }
}

template <class Format>
inline void quantize_activations(const float* x, size_t cols, size_t token, const Activations& all) {
  const Activations row = Product<Format>::row(all, token, cols);
  for (size_t b = 0; b < cols / Format::kWidth; ++b) {
    int8_t* codes = row.codes + b * Format::kWidth;
    row.scales[b] = quantize_block<Format::kWidth>(x + b * Format::kWidth, codes);
    correct_block<Format>(codes, row.corrections + b * Product<Format>::kCorrections);
  }
}

PHIGGUF_END_ISA
