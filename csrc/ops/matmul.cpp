#include "ops/matmul.h"

#include <algorithm>
#include <vector>

#include "base/thread_pool.h"
#include "dispatch/dispatch.h"

namespace phigguf {
namespace {

constexpr size_t kMostRows = 32;  // that a kernel takes together

// Weight rows per share: enough work to hide the cost of handing it out, and shares enough for all threads.
size_t rows_per_share(const MatmulTask& task) {
  constexpr size_t kProducts = 1 << 18;
  const size_t wanted = kProducts / std::max<size_t>(1, task.k * std::min<size_t>(task.m, 64));
  return std::max(kMostRows, wanted / kMostRows * kMostRows);
}

// The memory behind Activations for every token of a task.
class ActivationBuffer {
 public:
  explicit ActivationBuffer(const MatmulTask& task)
      : codes_(task.m * task.k),
        corrections_(task.m * (task.k / kCorrectionWidth)),
        scales_(task.m * (task.k / static_cast<size_t>(info(task.type).block_width))),
        tokens_(task.m) {}

  Activations view() { return {codes_.data(), corrections_.data(), scales_.data(), tokens_}; }

 private:
  std::vector<int8_t> codes_;
  std::vector<int32_t> corrections_;
  std::vector<float> scales_;
  size_t tokens_;
};

void run_shares(const MatmulTask& task, const KernelTable& table, const Activations& activations) {
  const size_t step = rows_per_share(task);
  const size_t row_bytes = info(task.type).row_bytes(task.k);
  parallel_for((task.n + step - 1) / step, task.threads, [&](size_t share) {
    const size_t first = share * step;
    MatmulJob job{};
    job.weights = task.weights + first * row_bytes;
    job.rows = std::min(step, task.n - first);
    job.cols = task.k;
    job.tokens = task.m;
    job.x = task.x;
    job.activations = activations;
    job.out = task.out + first;
    job.out_stride = task.n;
    table.matmul[static_cast<int>(task.type)](job);
  });
}

}  // namespace

void matmul(const MatmulTask& task) {
  if (task.m == 0 || task.n == 0) return;
  const KernelTable& table = kernels();
  if (is_float_type(task.type)) {
    run_shares(task, table, {});
    return;
  }
  ActivationBuffer buffer(task);
  const Activations activations = buffer.view();
  parallel_for(task.m, task.threads, [&](size_t t) {
    table.quantize_activations[static_cast<int>(task.type)](task.x + t * task.k, task.k, t, activations);
  });
  run_shares(task, table, activations);
}

}  // namespace phigguf
