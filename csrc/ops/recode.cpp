#include "ops/recode.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <utility>

#include "base/file_access.h"
#include "base/thread_pool.h"
#include "dispatch/dispatch.h"
#include "ops/recode_share.h"

namespace phigguf {
namespace {

// Enough weights to hide the cost of handing out a share and of a write, few enough to answer Ctrl-C soon.
size_t rows_per_share(size_t cols) {
  constexpr size_t kWeights = 1 << 17, kMostLanes = 32;
  const size_t rows = std::max<size_t>(1, kWeights / std::max<size_t>(1, cols));
  return (rows + kMostLanes - 1) / kMostLanes * kMostLanes;
}

struct ShareOfJob {
  size_t job, first, rows;
};

// The shares of all jobs, in the order of jobs and rows.
class ShareList {
 public:
  explicit ShareList(const std::vector<RecodeJob>& jobs) : jobs_(jobs) {
    size_t count = 0;
    for (const RecodeJob& job : jobs) {
      const size_t step = rows_per_share(job.cols);
      if (job.cols > 0) count += (job.rows + step - 1) / step;
      ends_.push_back(count);
    }
  }

  size_t size() const { return ends_.empty() ? 0 : ends_.back(); }

  ShareOfJob operator[](size_t number) const {
    const auto job = static_cast<size_t>(std::upper_bound(ends_.begin(), ends_.end(), number) - ends_.begin());
    const size_t step = rows_per_share(jobs_[job].cols);
    const size_t first = (number - (job == 0 ? 0 : ends_[job - 1])) * step;
    return {job, first, std::min(step, jobs_[job].rows - first)};
  }

 private:
  const std::vector<RecodeJob>& jobs_;
  std::vector<size_t> ends_;  // of each job's shares
};

// One run over all shares. Threads take them in order whatever job they belong to, so that none waits at a matrix's
// end, and a file is read and written nearly from front to back.
class Pass {
 public:
  Pass(const std::vector<RecodeJob>& jobs, const RecodeOptions& options)
      : jobs_(jobs), options_(options), shares_(jobs), squared_errors_(shares_.size()), failed_(shares_.size()) {}

  void run() {
    kernels();  // throws here, where it may, if there are none
    for (size_t i = 0; i < kReadAhead; ++i) read_ahead_of(i);
    parallel_for(shares_.size(), options_.threads, [&](size_t) { take_next(); }, [&] { return report_progress(); });
    if (report_progress()) throw Interrupted{};
  }

  // The first share, in order, that met a problem; none unless below the number of shares.
  size_t failed() const { return failed_; }
  const ShareResult& failure() const { return failure_; }
  const ShareList& shares() const { return shares_; }

  std::vector<double> squared_errors() const {
    std::vector<double> sums(jobs_.size());
    for (size_t i = 0; i < shares_.size(); ++i) sums[shares_[i].job] += squared_errors_[i];
    return sums;
  }

 private:
  void take_next() {
    const size_t number = next_.fetch_add(1, std::memory_order_relaxed);
    if (number > failed_.load(std::memory_order_relaxed)) return;
    const ShareOfJob share = shares_[number];
    const RecodeJob& job = jobs_[share.job];
    read_ahead_of(number + kReadAhead);
    const ShareResult result = recode_share(job, share.first, share.rows, options_.file);
    squared_errors_[number] = result.squared_error;
    if (result.status.problem != Problem::kNone || result.file_error != 0) note_failure(number, result);
    done_.fetch_add(share.rows * job.cols, std::memory_order_relaxed);
  }

  void read_ahead_of(size_t number) const {
    if (number >= shares_.size()) return;
    const ShareOfJob share = shares_[number];
    const RecodeJob& job = jobs_[share.job];
    if (job.target) return;  // from memory to memory
    const size_t row_bytes = info(job.source_type).row_bytes(job.cols);
    read_ahead(job.source + share.first * row_bytes, share.rows * row_bytes);
  }

  void note_failure(size_t number, const ShareResult& result) {
    const std::lock_guard<std::mutex> lock(failure_mutex_);
    if (number >= failed_) return;
    failed_ = number;
    failure_ = result;
  }

  bool report_progress() {
    const size_t done = done_.load(std::memory_order_relaxed);
    return options_.progress && options_.progress(done - std::exchange(reported_, done));
  }

  static constexpr size_t kReadAhead = 256;  // shares: at least 64 MB of F16

  const std::vector<RecodeJob>& jobs_;
  const RecodeOptions& options_;
  const ShareList shares_;
  std::vector<double> squared_errors_;  // of each share
  std::atomic<size_t> next_{0}, done_{0};
  size_t reported_ = 0;
  std::mutex failure_mutex_;
  std::atomic<size_t> failed_;
  ShareResult failure_{};
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
  std::vector<uint8_t> target(info(job.target_type).row_bytes(job.cols));
  job.target = target.data();
  job.measure_error = false;
  const size_t rows = std::exchange(job.rows, 1), row_bytes = info(job.source_type).row_bytes(job.cols);
  for (size_t row = 0; row < rows; ++row, job.source += row_bytes) {
    if (recode_share(job, 0, 1, -1).status.problem != Problem::kNone) return row;
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

RecodeResult recode(const std::vector<RecodeJob>& jobs, const RecodeOptions& options) {
  Pass pass(jobs, options);
  pass.run();
  RecodeResult result{};
  if (pass.failed() < pass.shares().size()) {
    result.job = pass.shares()[pass.failed()].job;
    result.row = pass.failure().status.row;
    result.problem = pass.failure().status.problem;
    result.file_error = pass.failure().file_error;
    if (result.problem != Problem::kNone) locate(jobs[result.job], result);
  } else {
    result.squared_errors = pass.squared_errors();
  }
  return result;
}

}  // namespace phigguf
