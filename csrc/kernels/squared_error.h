// How far a row of any type is from the floats it was made of: the sum of squared differences.
//
// It is measured while the row is in cache, and blocks are decoded in registers, by decode.h's operations. Differences
// are rounded to float32. There are sixteen partial sums in float64, element i in sum i % 16, which are added in order
// at the end: so many that every number of lanes divides them. What blocks add to them is summed in float32 first, a
// span of 256 weights at a time, so that of each partial sum's span 16 squares are rounded.
#pragma once

#include "kernels/decode.h"
#include "kernels/kernel_table.h"

PHIGGUF_BEGIN_ISA

constexpr size_t kPartialSums = 16, kErrorSpan = 256;
constexpr size_t kErrorVectors = kPartialSums / kLanes;

inline double total(const f64v (&sums)[kErrorVectors]) {
  double partial[kPartialSums], sum = 0.0;
  for (size_t i = 0; i < kErrorVectors; ++i) store(partial + kLanes * i, sums[i]);
  for (const double part : partial) sum += part;
  return sum;
}

template <class Format, class Element>
inline void add_block_error(const Element* before, const typename Format::Block& block,
                            f32v (&squares)[kErrorVectors]) {
  Fields<Format> fields;
  unpack_block<Format>(block, fields);
  for (size_t j = 0; j < fields.kSubBlocks; ++j) {
    const f32v scale = set(sub_block_scale<Format>(fields, static_cast<int>(j)));
    const f32v min = set(sub_block_min<Format>(fields, static_cast<int>(j)));
    const size_t first = Format::kSubWidth * j;
    for (size_t i = first; i < first + Format::kSubWidth; i += kLanes) {
      const f32v product = scale * to_f32(load_u8(fields.code + i) - set(Format::kZeroPoint));
      const f32v difference = load(before + i) - (Format::kMin == Min::kNone ? product : product - min);
      f32v& sum = squares[i / kLanes % kErrorVectors];
      sum = sum + difference * difference;
    }
  }
}

template <class Format, class Element>
inline double squared_error_of_blocks(const Element* before, const typename Format::Block* blocks, size_t n) {
  constexpr size_t kSpanBlocks = kErrorSpan / Format::kWidth;
  const size_t n_blocks = n / Format::kWidth;
  f64v sums[kErrorVectors] = {};
  for (size_t first = 0; first < n_blocks; first += kSpanBlocks) {
    f32v squares[kErrorVectors] = {};
    for (size_t b = first; b < first + kSpanBlocks && b < n_blocks; ++b) {
      add_block_error<Format>(before + b * Format::kWidth, blocks[b], squares);
    }
    for (size_t i = 0; i < kErrorVectors; ++i) sums[i] = add_product(sums[i], squares[i], set(1.0f));
  }
  return total(sums);
}

// Their squares may be past float32.
template <class Target, class Element>
inline double squared_error_of_floats(const Element* before, const Target* after, size_t n) {
  f64v sums[kErrorVectors] = {};
  const auto add = [&](size_t i, const Element* a, const Target* b) {
    const f32v difference = load(a) - load(b);
    f64v& sum = sums[i / kLanes % kErrorVectors];
    sum = add_product(sum, difference, difference);
  };
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) add(i, before + i, after + i);
  if (i < n) {
    Element last_before[kLanes] = {};
    Target last_after[kLanes] = {};
    std::memcpy(last_before, before + i, (n - i) * sizeof(Element));
    std::memcpy(last_after, after + i, (n - i) * sizeof(Target));
    add(i, last_before, last_after);
  }
  return total(sums);
}

// Calls with the source at its element type.
template <class Measure>
inline double with_elements(Type type, const void* source, const Measure& measure) {
  switch (type) {
    case Type::F16:
      return measure(static_cast<const float16*>(source));
    case Type::BF16:
      return measure(static_cast<const bfloat16*>(source));
    default:
      return measure(static_cast<const float*>(source));
  }
}

template <class Format>
inline double squared_error(const void* source, Type source_type, const uint8_t* blocks, size_t n) {
  return with_elements(source_type, source, [&](const auto* before) {
    return squared_error_of_blocks<Format>(before, reinterpret_cast<const typename Format::Block*>(blocks), n);
  });
}

template <class Target>
inline double squared_error_as(const void* source, Type source_type, const uint8_t* floats, size_t n) {
  return with_elements(source_type, source, [&](const auto* before) {
    return squared_error_of_floats(before, reinterpret_cast<const Target*>(floats), n);
  });
}

PHIGGUF_END_ISA
