#include "ops/kv_cache.h"

#include <algorithm>

#include "base/thread_pool.h"
#include "dispatch/dispatch.h"

namespace phigguf {
namespace {

size_t pages_for(size_t positions) { return (positions + kPagePositions - 1) / kPagePositions; }

}  // namespace

size_t KvCache::length() const {
  size_t shortest = layers_.empty() ? 0 : layers_[0].length;
  for (const Layer& layer : layers_) shortest = std::min(shortest, layer.length);
  return shortest;
}

size_t KvCache::bytes() const {
  size_t pages = 0;
  for (const Layer& layer : layers_) pages += layer.pages.size() - layer.first_page;
  return pages * 2 * half_page_bytes();
}

void KvCache::truncate(size_t n) {
  for (const Layer& layer : layers_) {
    if (n < layer.length && first_page_seen(n) < layer.first_page) n = 0;
  }
  for (Layer& layer : layers_) {
    if (n == 0) layer.first_page = 0;
    layer.length = std::min(layer.length, n);
    layer.pages.resize(pages_for(layer.length));
  }
}

size_t KvCache::first_page_seen(size_t position) const {
  const size_t window = geometry_.window;
  return window == 0 || position < window ? 0 : (position + 1 - window) / kPagePositions;
}

void KvCache::release_unseen(Layer& layer) const {
  const size_t seen = first_page_seen(layer.length);
  for (; layer.first_page < std::min(seen, layer.pages.size()); ++layer.first_page) {
    layer.pages[layer.first_page].reset();
  }
}

uint8_t* KvCache::row(const Layer& layer, size_t half, size_t head, size_t position) const {
  const size_t in_page = head * kPagePositions + position % kPagePositions;
  return layer.pages[position / kPagePositions].get() + half * half_page_bytes() + in_page * row_bytes();
}

void KvCache::rotate(const AttendTask& task, size_t token) const {
  const auto rotate_halves = kernels().rotate_halves;
  const Rotation& tables = task.rotation;
  float* heads = task.qkv + token * row_width(task.heads);
  for (size_t head = 0; head < task.heads + geometry_.kv_heads; ++head) {
    rotate_halves(heads + head * geometry_.head_dim, tables.cosines + token * tables.half,
                  tables.sines + token * tables.half, tables.half);
  }
}

EncodeStatus KvCache::append_one(const Layer& layer, const AttendTask& task, size_t token) const {
  const EncodeRows encode = kernels().encode[static_cast<int>(geometry_.type)];
  const size_t head_dim = geometry_.head_dim, kv_heads = geometry_.kv_heads;
  const float* source = task.qkv + token * row_width(task.heads) + task.heads * head_dim;
  EncodeStatus status{Problem::kNone, 0};
  for (size_t i = 0; i < 2 * kv_heads && status.problem == Problem::kNone; ++i) {
    uint8_t* target = row(layer, i / kv_heads, i % kv_heads, layer.length + token);
    status = encode({source + i * head_dim, Type::F32, 1, head_dim, nullptr, target});
  }
  return {status.problem, token};
}

EncodeStatus KvCache::append(Layer& layer, const AttendTask& task) const {
  release_unseen(layer);
  while (layer.pages.size() < pages_for(layer.length + task.tokens)) {
    layer.pages.push_back(std::make_unique<uint8_t[]>(2 * half_page_bytes()));
  }
  std::vector<EncodeStatus> status(task.tokens);
  parallel_for(task.tokens, 0, [&](size_t token) {
    rotate(task, token);
    status[token] = append_one(layer, task, token);
  });
  for (const EncodeStatus& one : status) {
    if (one.problem != Problem::kNone) return one;
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
  phigguf::attend({pages.data(), geometry_.kv_heads, geometry_.head_dim, geometry_.type, geometry_.window}, task,
                  first);
  return status;
}

}  // namespace phigguf
