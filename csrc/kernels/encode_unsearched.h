// Blocks whose scale follows from their range: the 32-wide formats without an importance matrix.
//
// Such an encoder has to keep up with memory, so it leaves every block where it lies: a vector holds neighbouring
// weights. Only the ranges are transposed, to make the scales of kLanes blocks at once. Neither the range nor the
// rounding of a weight depends on an order, so the bytes are those of any other way.
#pragma once

#include "kernels/kernel_table.h"
#include "kernels/quantize_simple.h"

PHIGGUF_BEGIN_ISA

// Of zeros of both signs the first is the lowest, as in a scan; the others differ from it in sign alone.
template <class Element>
inline void keep_first_zero(const Element* const (&block)[kLanes], BlockRanges& ranges) {
  const maskv zero = ranges.lowest == set(0.0f);
  if (!any(zero)) return;
  float lowest[kLanes];
  store(lowest, ranges.lowest);
  for (int b = 0; b < kLanes; ++b) {
    if (lowest[b] != 0.0f) continue;
    const Element* x = block[b];
    while (to_float(*x) != 0.0f) ++x;
    lowest[b] = to_float(*x);
  }
  ranges.lowest = load(lowest);
  ranges.highest = select(zero & (ranges.highest == set(0.0f)), ranges.lowest, ranges.highest);
}

template <int Width, class Element>
inline BlockRanges block_ranges(const Element* const (&block)[kLanes]) {
  f32v lowest[kLanes], highest[kLanes];
  for (int b = 0; b < kLanes; ++b) {
    lowest[b] = highest[b] = load(block[b]);
    for (int i = kLanes; i < Width; i += kLanes) {
      const f32v x = load(block[b] + i);
      lowest[b] = min(x, lowest[b]);
      highest[b] = max(x, highest[b]);
    }
  }
  transpose(lowest);
  transpose(highest);
  BlockRanges ranges{lowest[0], highest[0]};
  for (int i = 1; i < kLanes; ++i) {
    ranges.lowest = min(lowest[i], ranges.lowest);
    ranges.highest = max(highest[i], ranges.highest);
  }
  keep_first_zero(block, ranges);
  return ranges;
}

// The element of largest magnitude of each block, the first among equals.
template <int Width, class Element>
inline f32v block_extremes(const Element* const (&block)[kLanes], const BlockRanges& ranges) {
  const f32v magnitude = max(abs(ranges.lowest), abs(ranges.highest));
  const maskv nonzero = magnitude > set(0.0f);
  f32v extreme = select(ranges.highest == magnitude, ranges.highest, ranges.lowest);
  extreme = select(nonzero, extreme, set(0.0f));
  if (!any(nonzero & (ranges.highest == neg(ranges.lowest)))) return extreme;
  float first[kLanes], largest[kLanes];
  store(first, extreme);
  store(largest, magnitude);
  for (int b = 0; b < kLanes; ++b) {
    for (int i = Width - 1; i >= 0; --i) {
      const float x = to_float(block[b][i]);
      if (x == largest[b] || x == -largest[b]) first[b] = largest[b] == 0.0f ? 0.0f : x;
    }
  }
  return load(first);
}

// Encodes up to kLanes blocks that follow each other.
template <class Format, class Element>
struct UnsearchedEncoder {
  using Rounding = typename Format::Quantizer::Unsearched;
  static constexpr int kWidth = Format::kWidth, kVectors = kWidth / kLanes;

  static Problem run(const Element* source, size_t count, typename Format::Block* blocks) {
    const Element* block[kLanes];
    for (size_t b = 0; b < kLanes; ++b) block[b] = source + kWidth * (b < count ? b : count - 1);
    const BlockRanges ranges = block_ranges<kWidth>(block);
    const maskv reachable = (abs(ranges.lowest) <= set(kUnreachable)) & (abs(ranges.highest) <= set(kUnreachable));
    if (any(~reachable)) return problem_of(source, count);

    const Rounding rounding(ranges, [&] { return block_extremes<kWidth>(block, ranges); });
    const i32v scale = to_f16(rounding.scale), min = to_f16(rounding.offset);
    int32_t scales[kLanes], mins[kLanes];
    float inverses[kLanes], offsets[kLanes];
    store(scales, scale);
    store(mins, min);
    store(inverses, rounding.inverse);
    store(offsets, rounding.offset);
    i32v seen = set(0);
    for (size_t b = 0; b < count; ++b) {
      Fields<Format> fields;
      fields.scale = static_cast<uint16_t>(scales[b]);
      fields.min = static_cast<uint16_t>(mins[b]);
      i32v code[kVectors];
      for (int i = 0; i < kVectors; ++i) {
        code[i] = Rounding::code(load(block[b] + kLanes * i), set(inverses[b]), set(offsets[b]));
        seen = seen | code[i];
      }
      store_low_bytes(fields.code, code);
      Format::pack(fields, blocks[b]);
    }
    // A range skips NaN, whose code shows by its sign; so does that of a weight whose scale is denormal.
    const bool may_have_nan = any(set(0) > seen);
    if (may_have_nan && problem_of(source, count) == Problem::kNotFinite) return Problem::kNotFinite;
    return any(is_infinite_f16(scale) | is_infinite_f16(min)) ? Problem::kScaleOverflow : Problem::kNone;
  }

 private:
  static maskv is_infinite_f16(i32v bits) { return (bits & set(0x7c00)) == set(0x7c00); }

  static Problem problem_of(const Element* source, size_t count) {
    for (size_t i = 0; i < count * kWidth; i += kLanes) {
      if (any(~(abs(load(source + i)) <= set(0x1.fffffep+127f)))) return Problem::kNotFinite;
    }
    return Problem::kScaleOverflow;
  }
};

template <class Format, class Element>
inline EncodeStatus encode_unsearched(const EncodeJob& job) {
  const auto* source = static_cast<const Element*>(job.source);
  auto* blocks = reinterpret_cast<typename Format::Block*>(job.blocks);
  const size_t total = job.rows * (job.cols / Format::kWidth);
  for (size_t first = 0; first < total; first += kLanes) {
    const size_t count = total - first < kLanes ? total - first : kLanes;
    const Problem problem =
        UnsearchedEncoder<Format, Element>::run(source + first * Format::kWidth, count, blocks + first);
    if (problem != Problem::kNone) return {problem, first * Format::kWidth / job.cols};
  }
  return {Problem::kNone, 0};
}

PHIGGUF_END_ISA
