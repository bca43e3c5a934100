// Rows of one tensor type to rows of another, over all threads: in memory, or on the way to a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/kernel_table.h"

namespace phigguf {

// One matrix.
struct RecodeJob {
  const uint8_t* source;
  Type source_type;
  uint8_t* target;  // null: the rows go to the file
  Type target_type;
  size_t rows, cols;
  const float* importance;  // cols values, or null
  bool measure_error;

  uint64_t offset;   // in the file, of the first row
  bool keep_source;  // the file gets the source's bytes, and recoding only checks them
};

// How a list of jobs is to be done.
struct RecodeOptions {
  int threads = 0;  // 0: the process-wide number
  int file = -1;    // open for writing
  // Told about every 50 ms by the calling thread how many weights are done since; true stops the work.
  std::function<bool(size_t)> progress;
};

struct RecodeResult {
  Problem problem;
  int file_error;   // an errno; the problem is none then
  size_t job;       // of the first problem, in the order of jobs and rows
  size_t row, col;  // where the problem is: exact for a value, the row alone for a scale
  float value;
  std::vector<double> squared_errors;  // of each job, summed over its weights in an order that never changes
};

RecodeResult recode(const std::vector<RecodeJob>& jobs, const RecodeOptions& options);

}  // namespace phigguf
