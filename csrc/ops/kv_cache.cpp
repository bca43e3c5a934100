#include "ops/kv_cache.h"

#include <algorithm>

#include "base/thread_pool.h"
#include "dispatch/dispatch.h"

namespace phigguf {
namespace {

size_t pages_for(size_t positions) { return (positions + kPagePositions - 1) / kPagePositions; }

// What threads take turns at: one key-value head's queries for a few tokens.
class AttentionShares {
 public:
  AttentionShares(const CacheGeometry& cache, const AttendTask& task, size_t first_position,
                  std::vector<const uint8_t*> pages)
      : cache_(cache), task_(task), first_position_(first_position), pages_(std::move(pages)) {}

  void run() const {
    const size_t spans = (task_.tokens + kTokens - 1) / kTokens;
    parallel_for(spans * cache_.kv_heads, 0, [&](size_t i) { run_one(i / spans, i % spans * kTokens); });
  }

 private:
  static constexpr size_t kTokens = 16;

  void run_one(size_t kv_head, size_t first) const {
    const KernelTable& table = kernels();
    const size_t group = task_.heads / cache_.kv_heads, column = kv_head * group * cache_.head_dim;
    const size_t row_bytes = info(cache_.type).row_bytes(cache_.head_dim);
    AttentionJob job{};
    job.query_stride = (task_.heads + 2 * cache_.kv_heads) * cache_.head_dim;
    job.queries = task_.qkv + first * job.query_stride + column;
    job.out_stride = task_.heads * cache_.head_dim;
    job.out = task_.out + first * job.out_stride + column;
    job.tokens = std::min(kTokens, task_.tokens - first);
    job.first_position = first_position_ + first;
    job.heads = group;
    job.head_dim = cache_.head_dim;
    job.window = task_.window;
    job.scale = task_.scale;
    job.keys = {pages_.data(), kv_head * kPagePositions * row_bytes, row_bytes};
    job.values = {pages_.data(), (cache_.kv_heads + kv_head) * kPagePositions * row_bytes, row_bytes};
    job.blocks_per_row = cache_.head_dim / static_cast<size_t>(info(cache_.type).block_width);
    job.decode = table.decode[static_cast<int>(cache_.type)];
    constexpr size_t kCacheLine = 16;  // floats
    std::vector<float> scratch(table.attention_scratch(job) + kCacheLine);
    const auto misaligned = reinterpret_cast<uintptr_t>(scratch.data()) / sizeof(float) % kCacheLine;
    job.scratch = scratch.data() + (kCacheLine - misaligned);
    table.attend(job);
  }

  const CacheGeometry& cache_;
  const AttendTask& task_;
  size_t first_position_;
  std::vector<const uint8_t*> pages_;
};

}  // namespace

size_t KvCache::length() const {
  size_t shortest = layers_.empty() ? 0 : layers_[0].length;
  for (const Layer& layer : layers_) shortest = std::min(shortest, layer.length);
  return shortest;
}

size_t KvCache::bytes() const {
  size_t pages = 0;
  for (const Layer& layer : layers_) pages += layer.pages.size();
  return pages * 2 * half_page_bytes();
}

void KvCache::truncate(size_t n) {
  for (Layer& layer : layers_) {
    layer.length = std::min(layer.length, n);
    layer.pages.resize(pages_for(layer.length));
  }
}

uint8_t* KvCache::row(const Layer& layer, size_t half, size_t head, size_t position) const {
  const size_t in_page = head * kPagePositions + position % kPagePositions;
  return layer.pages[position / kPagePositions].get() + half * half_page_bytes() + in_page * row_bytes();
}

EncodeStatus KvCache::append(Layer& layer, const AttendTask& task) const {
  const EncodeRows encode = kernels().encode[static_cast<int>(geometry_.type)];
  const size_t head_dim = geometry_.head_dim;
  while (layer.pages.size() < pages_for(layer.length + task.tokens)) {
    layer.pages.push_back(std::make_unique<uint8_t[]>(2 * half_page_bytes()));
  }
  std::vector<EncodeStatus> status(task.tokens);
  parallel_for(task.tokens, 0, [&](size_t t) {
    const float* source = task.qkv + t * row_width(task.heads) + task.heads * head_dim;
    for (size_t i = 0; i < 2 * geometry_.kv_heads && status[t].problem == Problem::kNone; ++i) {
      uint8_t* target = row(layer, i / geometry_.kv_heads, i % geometry_.kv_heads, layer.length + t);
      status[t] = encode({source + i * head_dim, Type::F32, 1, head_dim, nullptr, target});
    }
  });
  for (size_t t = 0; t < task.tokens; ++t) {
    if (status[t].problem != Problem::kNone) return {status[t].problem, t};
  }
  layer.length += task.tokens;
  return {Problem::kNone, 0};
}

EncodeStatus KvCache::attend(size_t layer_index, const AttendTask& task) {
  Layer& layer = layers_[layer_index];
  const size_t first = layer.length;
  const EncodeStatus status = append(layer, task);
  if (status.problem != Problem::kNone) return status;
  std::vector<const uint8_t*> pages;
  for (const auto& page : layer.pages) pages.push_back(page.get());
  AttentionShares(geometry_, task, first, std::move(pages)).run();
  return status;
}

}  // namespace phigguf
