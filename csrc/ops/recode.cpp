#include "ops/recode.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/thread_pool.h"
#include "dispatch/dispatch.h"

namespace phigguf {
namespace {

// Rows per share: enough weights to hide the cost of handing out work, few enough to answer Ctrl-C soon.
size_t rows_per_share(size_t cols) {
  constexpr size_t kWeights = 1 << 16, kMostLanes = 32;
  const size_t rows = std::max<size_t>(1, kWeights / std::max<size_t>(1, cols));
  return (rows + kMostLanes - 1) / kMostLanes * kMostLanes;
}

class Share {
 public:
  Share(const RecodeJob& job, const KernelTable& kernels, size_t first, size_t rows)
      : job_(job), kernels_(kernels), first_(first), rows_(rows) {}

  EncodeStatus run(double* row_errors) {
    EncodeStatus status = encode();
    if (status.problem != Problem::kNone) {
      status.row += first_;
    } else if (job_.measure_error) {
      measure(row_errors);
    }
    return status;
  }

 private:
  const uint8_t* source_row(size_t row) const {
    return job_.source + (first_ + row) * info(job_.source_type).row_bytes(job_.cols);
  }
  uint8_t* target_row(size_t row) const {
    return job_.target + (first_ + row) * info(job_.target_type).row_bytes(job_.cols);
  }
  void decode(Type type, const uint8_t* bytes, size_t rows, float* out) const {
    const size_t blocks = rows * (job_.cols / static_cast<size_t>(info(type).block_width));
    kernels_.decode[static_cast<int>(type)](bytes, blocks, out);
  }

  EncodeStatus encode() {
    const EncodeRows encode_rows = kernels_.encode[static_cast<int>(job_.target_type)];
    EncodeJob encode_job{source_row(0), job_.source_type, rows_, job_.cols, job_.importance, target_row(0)};
    if (!is_float_type(job_.source_type)) {
      float* floats = float_rows();
      decode(job_.source_type, source_row(0), rows_, floats);
      encode_job.source = floats;
      encode_job.source_type = Type::F32;
    }
    return encode_rows(encode_job);
  }

  // Where blocks are decoded to: scratch, or the target itself, which is then only checked.
  float* float_rows() {
    if (job_.target_type == Type::F32) return reinterpret_cast<float*>(target_row(0));
    scratch_.resize(rows_ * job_.cols);
    return scratch_.data();
  }

  void measure(double* row_errors) {
    std::vector<float> before(job_.cols), after(job_.cols);
    for (size_t row = 0; row < rows_; ++row) {
      decode(job_.source_type, source_row(row), 1, before.data());
      decode(job_.target_type, target_row(row), 1, after.data());
      row_errors[first_ + row] = kernels_.squared_error(before.data(), after.data(), job_.cols);
    }
  }

  const RecodeJob& job_;
  const KernelTable& kernels_;
  size_t first_, rows_;
  std::vector<float> scratch_;
};

// The smallest magnitude that rounds to infinity.
float overflow_threshold(Type type) {
  if (type == Type::F16) return 65520.0f;
  if (type == Type::BF16) return 0x1.ffp+127f;
  return INFINITY;
}

// The first value, in row order, whose magnitude is not below `bound`.
bool find_value(const RecodeJob& job, float bound, RecodeResult& result) {
  std::vector<float> values(job.cols);
  const TypeInfo& type = info(job.source_type);
  const size_t blocks = job.cols / static_cast<size_t>(type.block_width);
  for (size_t row = 0; row < job.rows; ++row) {
    kernels().decode[static_cast<int>(job.source_type)](job.source + row * type.row_bytes(job.cols), blocks,
                                                        values.data());
    for (size_t col = 0; col < job.cols; ++col) {
      if (std::abs(values[col]) < bound) continue;
      result.row = row;
      result.col = col;
      result.value = values[col];
      return true;
    }
  }
  return false;
}

// The first row that cannot be encoded by itself. A kernel names one near it, depending on its lanes.
size_t find_row(RecodeJob job) {
  job.measure_error = false;
  for (size_t row = 0; row < job.rows; ++row) {
    if (Share(job, kernels(), row, 1).run(nullptr).problem != Problem::kNone) return row;
  }
  return 0;
}

// What a kernel meets first depends on how many lanes it has: a NaN, or the scale that it spoils in an earlier block.
// So that every ISA gives one answer, values that are not finite come first, wherever they are.
void locate(const RecodeJob& job, RecodeResult& result) {
  if (find_value(job, INFINITY, result)) {
    result.problem = Problem::kNotFinite;
  } else if (is_float_type(job.target_type)) {
    find_value(job, overflow_threshold(job.target_type), result);
  } else {
    result.row = find_row(job);
  }
}

}  // namespace

RecodeResult recode(const RecodeJob& job) {
  RecodeResult result{Problem::kNone, 0, 0, 0.0f, 0.0};
  if (job.rows == 0 || job.cols == 0) return result;
  const KernelTable& table = kernels();
  const size_t step = rows_per_share(job.cols);
  const size_t shares = (job.rows + step - 1) / step;
  std::vector<EncodeStatus> status(shares);
  std::vector<double> row_errors(job.measure_error ? job.rows : 0);
  parallel_for(shares, job.threads, [&](size_t i) {
    const size_t first = i * step;
    status[i] = Share(job, table, first, std::min(step, job.rows - first)).run(row_errors.data());
  });

  for (const EncodeStatus& s : status) {
    if (s.problem == Problem::kNone) continue;
    result.problem = s.problem;
    result.row = s.row;
    locate(job, result);
    return result;
  }
  for (const double error : row_errors) result.squared_error += error;
  return result;
}

}  // namespace phigguf
