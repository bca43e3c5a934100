#include "ops/attention.h"

#include <algorithm>
#include <vector>

#include "base/thread_pool.h"
#include "dispatch/dispatch.h"

namespace phigguf {
namespace {

constexpr size_t kTokensPerShare = 16;

// What threads take turns at: one key-value head's queries for a few tokens.
void attend_share(const CachedLayer& cache, const AttendTask& task, size_t first_position, size_t kv_head,
                  size_t first) {
  const KernelTable& table = kernels();
  const size_t group = task.heads / cache.kv_heads, column = kv_head * group * cache.head_dim;
  const size_t row_bytes = info(cache.type).row_bytes(cache.head_dim);
  AttentionJob job{};
  job.query_stride = (task.heads + 2 * cache.kv_heads) * cache.head_dim;
  job.queries = task.qkv + first * job.query_stride + column;
  job.out_stride = task.heads * cache.head_dim;
  job.out = task.out + first * job.out_stride + column;
  job.tokens = std::min(kTokensPerShare, task.tokens - first);
  job.first_position = first_position + first;
  job.heads = group;
  job.head_dim = cache.head_dim;
  job.window = cache.window;
  job.scale = task.scale;
  job.keys = {cache.pages, kv_head * kPagePositions * row_bytes, row_bytes};
  job.values = {cache.pages, (cache.kv_heads + kv_head) * kPagePositions * row_bytes, row_bytes};
  job.blocks_per_row = cache.head_dim / static_cast<size_t>(info(cache.type).block_width);
  job.decode = table.decode[static_cast<int>(cache.type)];
  constexpr size_t kCacheLine = 16;  // floats
  std::vector<float> scratch(table.attention_scratch(job) + kCacheLine);
  const auto misaligned = reinterpret_cast<uintptr_t>(scratch.data()) / sizeof(float) % kCacheLine;
  job.scratch = scratch.data() + (kCacheLine - misaligned);
  table.attend(job);
}

}  // namespace

void attend(const CachedLayer& cache, const AttendTask& task, size_t first_position) {
  const size_t spans = (task.tokens + kTokensPerShare - 1) / kTokensPerShare;
  parallel_for(spans * cache.kv_heads, 0,
               [&](size_t i) { attend_share(cache, task, first_position, i / spans, i % spans * kTokensPerShare); });
}

}  // namespace phigguf
