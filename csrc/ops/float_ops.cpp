#include "ops/float_ops.h"

#include <algorithm>

#include "base/sin_cos.h"
#include "base/thread_pool.h"
#include "dispatch/dispatch.h"

namespace phigguf {
namespace {

// Calls body(row) for every row, in shares of at least a few thousand values.
template <class Body>
void for_each_row(size_t rows, size_t cols, const Body& body) {
  constexpr size_t kValues = 1 << 14;
  const size_t step = std::max<size_t>(1, kValues / std::max<size_t>(1, cols));
  parallel_for((rows + step - 1) / step, 0, [&](size_t share) {
    for (size_t row = share * step; row < std::min(rows, (share + 1) * step); ++row) body(row);
  });
}

}  // namespace

void rms_norm(const float* x, const float* weight, size_t rows, size_t cols, float epsilon, float* out) {
  const KernelTable& table = kernels();
  for_each_row(rows, cols,
               [&](size_t row) { table.rms_norm(x + row * cols, weight, cols, epsilon, out + row * cols); });
}

void layer_norm(const float* x, const float* weight, const float* bias, size_t rows, size_t cols, float epsilon,
                float* out) {
  const KernelTable& table = kernels();
  for_each_row(rows, cols,
               [&](size_t row) { table.layer_norm(x + row * cols, weight, bias, cols, epsilon, out + row * cols); });
}

void gelu(const float* x, size_t rows, size_t cols, float* out) {
  const KernelTable& table = kernels();
  for_each_row(rows, cols, [&](size_t row) { table.gelu(x + row * cols, cols, out + row * cols); });
}

void softmax(const float* x, size_t rows, size_t cols, float* out) {
  const KernelTable& table = kernels();
  for_each_row(rows, cols, [&](size_t row) { table.softmax(x + row * cols, cols, out + row * cols); });
}

void silu_mul(const float* gate_up, size_t rows, size_t cols, float* out) {
  const KernelTable& table = kernels();
  for_each_row(rows, cols, [&](size_t row) {
    const float* gate = gate_up + row * 2 * cols;
    table.silu_mul(gate, gate + cols, cols, out + row * cols);
  });
}

void fill_rope_tables(const RopeTableTask& task) {
  for_each_row(task.rows, task.half, [&](size_t row) {
    const auto position = static_cast<float>(task.start + row);
    for (size_t i = 0; i < task.half; ++i) {
      const SinCos value = sin_cos(position * task.frequencies[i]);
      task.cosines[row * task.half + i] = value.cosine * task.factor;
      task.sines[row * task.half + i] = value.sine * task.factor;
    }
  });
}

void read_rows(const uint8_t* weights, Type type, size_t cols, const int32_t* ids, size_t n, float* out) {
  const DecodeBlocks decode = kernels().decode[static_cast<int>(type)];
  const size_t row_bytes = info(type).row_bytes(cols), blocks = cols / static_cast<size_t>(info(type).block_width);
  for_each_row(n, cols, [&](size_t row) {
    decode(weights + static_cast<size_t>(ids[row]) * row_bytes, blocks, out + row * cols);
  });
}

}  // namespace phigguf
