// What every ISA offers: one table of function pointers, filled by variant.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/format_list.h"

namespace phigguf {

enum class Problem : int {
  kNone,
  kNotFinite,      // a weight is NaN or infinite
  kScaleOverflow,  // a block's scale or minimum, or a weight itself, does not fit the type
};

struct EncodeStatus {
  Problem problem;
  size_t row;
};

// Rows of floats to rows of blocks. `importance` has one weight per column, or is null.
struct EncodeJob {
  const void* source;
  Type source_type;  // a float type
  size_t rows;
  size_t cols;
  const float* importance;
  uint8_t* blocks;
};

using EncodeRows = EncodeStatus (*)(const EncodeJob& job);
using DecodeBlocks = void (*)(const uint8_t* blocks, size_t n_blocks, float* out);
using SquaredError = double (*)(const float* a, const float* b, size_t n);

struct KernelTable {
  const char* isa;
  EncodeRows encode[kTypeCount];
  DecodeBlocks decode[kTypeCount];
  SquaredError squared_error;
};

}  // namespace phigguf
