#include "ops/matmul.h"

#include <algorithm>

#include "base/scratch.h"
#include "base/thread_pool.h"
#include "dispatch/dispatch.h"

namespace phigguf {
namespace {

constexpr size_t kFewTokens = 4;  // whose products kernels add up as they unpack weights

// A multiple of `step` near `n`, and not 0.
size_t steps(size_t step, size_t n) { return std::max<size_t>(1, n / step) * step; }

// Rows of a share that is fetched from memory while the one before meets a few tokens. About so much comes as fast as
// memory can be read: of less, the streams of it end too often, and of more, some has left the cache before it is used.
size_t rows_fetched(const MatmulTask& task) {
  constexpr size_t kFetchedBytes = 80 << 10, kRows = 16;
  return steps(kRows, kFetchedBytes / info(task.type).row_bytes(task.k) + kRows / 2);
}

// Weight rows per share: several shares for each thread, but none so small that handing it out costs more than it, nor
// so large that it is waited for. Of many tokens, the rows of a share but the first find the activations in a cache.
size_t rows_per_share(const MatmulTask& task) {
  constexpr size_t kFewestProducts = 1 << 15, kSharesPerThread = 4, kManyTokens = 64;
  constexpr size_t kMostRows = 32;  // that a kernel takes together
  const size_t most_products = task.m < kManyTokens ? 1 << 18 : 1 << 25;
  const size_t products_per_row = std::max<size_t>(1, task.k * std::min(task.m, kManyTokens));
  const auto threads = static_cast<size_t>(task.threads > 0 ? task.threads : num_threads());
  const size_t wanted = std::clamp(task.n / (kSharesPerThread * threads), kFewestProducts / products_per_row,
                                   most_products / products_per_row);
  const bool is_fetched = task.m <= kFewTokens && !is_float_type(task.type);
  return is_fetched ? std::min(rows_fetched(task), steps(kMostRows / 2, wanted)) : steps(kMostRows, wanted);
}

// The memory behind Activations for every token of a task; kept from one task to the next.
class ActivationBuffer {
 public:
  Activations view(const MatmulTask& task) {
    const auto width = static_cast<size_t>(info(task.type).block_width);
    const size_t blocks = task.m * (task.k / width) + kReadPastBlocks;
    return {codes_.reserve(blocks * width), corrections_.reserve(blocks * (width / kCorrectionWidth)),
            scales_.reserve(blocks), task.m};
  }

 private:
  Scratch<int8_t> codes_;
  Scratch<int32_t> corrections_;
  Scratch<float> scales_;
};

// The rows that are multiplied.
class InputRows {
 public:
  InputRows(const MatmulTask& task, const KernelTable& table) : task_(task), table_(table) {}

  bool are_those_of_x() const { return !task_.norm && !task_.gated; }

  void make(size_t t, float* row) const {
    const size_t k = task_.k;
    if (are_those_of_x()) {
      std::copy_n(task_.x + t * k, k, row);
    } else if (task_.norm) {
      table_.rms_norm(task_.x + t * k, task_.norm, k, task_.epsilon, row);
    } else {
      const float* gate = task_.x + t * 2 * k;
      table_.silu_mul(gate, gate + k, k, row);
    }
  }

  void quantize(size_t t, const Activations& activations) const {
    const float* row = task_.x + t * task_.k;
    thread_local Scratch<float> memory;
    if (!are_those_of_x()) {
      float* made = memory.reserve(task_.k);
      make(t, made);
      row = made;
    }
    table_.quantize_activations[static_cast<int>(task_.type)](row, task_.k, t, activations);
  }

 private:
  const MatmulTask& task_;
  const KernelTable& table_;
};

void run_shares(const MatmulTask& task, const KernelTable& table, const float* x, const Activations& activations) {
  const size_t step = rows_per_share(task);
  const size_t row_bytes = info(task.type).row_bytes(task.k);
  parallel_for((task.n + step - 1) / step, task.threads, [&](size_t share) {
    const size_t first = share * step;
    MatmulJob job{};
    job.weights = task.weights + first * row_bytes;
    job.rows = std::min(step, task.n - first);
    job.cols = task.k;
    job.tokens = task.m;
    job.x = x;
    job.activations = activations;
    job.out = task.out + first;
    job.out_stride = task.n;
    job.accumulate = task.accumulate;
    table.matmul[static_cast<int>(task.type)](job);
  });
}

void multiply_floats(const MatmulTask& task, const KernelTable& table) {
  thread_local Scratch<float> memory;
  const InputRows rows(task, table);
  const size_t stride = x_stride(task.k);
  float* x = memory.reserve(task.m * stride);
  parallel_for(task.m, task.threads, [&](size_t t) {
    float* row = x + t * stride;
    rows.make(t, row);
    std::fill(row + task.k, row + stride, 0.0f);
  });
  run_shares(task, table, x, {});
}

void multiply_blocks(const MatmulTask& task, const KernelTable& table) {
  thread_local ActivationBuffer buffer;
  const InputRows rows(task, table);
  const Activations activations = buffer.view(task);
  parallel_for(task.m, task.threads, [&](size_t t) { rows.quantize(t, activations); });
  run_shares(task, table, nullptr, activations);
}

}  // namespace

void matmul(const MatmulTask& task) {
  if (task.m == 0 || task.n == 0) return;
  is_float_type(task.type) ? multiply_floats(task, kernels()) : multiply_blocks(task, kernels());
}

}  // namespace phigguf
