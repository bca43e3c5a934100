#include "ops/kv_cache.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

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
  return pages * geometry_.page.bytes();
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

// Zeros, from calloc, which leaves it to the system to fill memory where it is first touched.
KvCache::PageMemory KvCache::new_page() const {
  PageMemory page(static_cast<uint8_t*>(std::calloc(geometry_.page.bytes(), 1)));
  if (!page) throw std::bad_alloc();
  return page;
}

void KvCache::rotate(const AttendTask& task, size_t token) const {
  const auto rotate_halves = kernels().rotate_halves;
  const Rotation& tables = task.rotation;
  float* heads = task.qkv + token * row_width(task.heads);
  for (size_t head = 0; head < task.heads + geometry_.page.kv_heads; ++head) {
    rotate_halves(heads + head * geometry_.page.head_dim, tables.cosines + token * tables.half,
                  tables.sines + token * tables.half, tables.half);
  }
}

EncodeStatus KvCache::append_one(const Layer& layer, const AttendTask& task, size_t token) const {
  const KernelTable& table = kernels();
  const CachePage& layout = geometry_.page;
  const int type = static_cast<int>(layout.type);
  const size_t position = layer.length + token, in_page = position % kPagePositions;
  const float* source = task.qkv + token * row_width(task.heads) + task.heads * layout.head_dim;
  uint8_t* page = layer.pages[position / kPagePositions].get();
  for (size_t series = 0; series < 2 * layout.kv_heads; ++series) {
    uint8_t* row = page + layout.rows_offset(series) + in_page * layout.row_bytes();
    const EncodeStatus status =
        table.encode[type]({source + series * layout.head_dim, Type::F32, 1, layout.head_dim, nullptr, row});
    if (status.problem != Problem::kNone) return {status.problem, token};
    if (!layout.has_peaks()) continue;
    float stored[kMostCodeDimensions] = {};
    table.decode[type](row, layout.blocks_per_row(), stored);
    const float peak = table.largest_magnitude(stored, kMostCodeDimensions);
    std::memcpy(page + layout.peaks_offset(series) + in_page * sizeof peak, &peak, sizeof peak);
  }
  return {Problem::kNone, token};
}

EncodeStatus KvCache::append(Layer& layer, const AttendTask& task) const {
  release_unseen(layer);
  while (layer.pages.size() < pages_for(layer.length + task.tokens)) {
    layer.pages.push_back(new_page());
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
  phigguf::attend({pages.data(), geometry_.page, geometry_.window}, task, first);
  return status;
}

}  // namespace phigguf
