// Rows of one tensor type to rows of another, over all threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.h"

namespace phigguf {

struct RecodeJob {
  const uint8_t* source;
  Type source_type;
  uint8_t* target;
  Type target_type;
  size_t rows, cols;
  const float* importance;  // cols values, or null
  int threads;              // 0: the process-wide number
  bool measure_error;
};

struct RecodeResult {
  Problem problem;
  size_t row, col;  // where the problem is: exact for a value, the row alone for a scale
  float value;
  double squared_error;  // summed over all weights, in row order
};

RecodeResult recode(const RecodeJob& job);

}  // namespace phigguf
