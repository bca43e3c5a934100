// A few rows of a recoding, which one thread does: encode, measure, store.
#pragma once

#include "ops/recode.h"

namespace phigguf {

struct ShareResult {
  EncodeStatus status;
  int file_error;
  double squared_error;  // summed row by row
};

// Recodes rows [first, first + rows) of a job; rows that go to a file are written at once, while in cache.
ShareResult recode_share(const RecodeJob& job, size_t first, size_t rows, int file);

}  // namespace phigguf
