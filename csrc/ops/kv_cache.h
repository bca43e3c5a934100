// The keys and values of one sequence, in any tensor type that divides a head; and attention over them.
//
// Memory comes in pages of kPagePositions positions (cache_page.h), one list per layer, as they are first written. With
// a sliding window, pages that the next position does not see are let go as tokens are appended; what the last call
// appended can thus always be taken back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "kernels/kernel_table.h"
#include "ops/attention.h"

namespace phigguf {

struct CacheGeometry {
  size_t layers;
  CachePage page;
  size_t window;  // positions that a query sees, itself included; 0: all
};

class KvCache {
 public:
  explicit KvCache(const CacheGeometry& geometry) : geometry_(geometry), layers_(geometry.layers) {}

  const CacheGeometry& geometry() const { return geometry_; }
  size_t row_width(size_t heads) const { return (heads + 2 * geometry_.page.kv_heads) * geometry_.page.head_dim; }

  // Positions that every layer holds.
  size_t length() const;
  size_t length(size_t layer) const { return layers_[layer].length; }
  size_t bytes() const;

  // Forgets positions from n on; all of them where the window before n is gone.
  void truncate(size_t n);

  // Rotates queries and keys, appends keys and values to a layer, then computes every query's output. Where a value
  // does not fit the cache's type nothing is appended; the status's row is the token.
  EncodeStatus attend(size_t layer, const AttendTask& task);

 private:
  struct Free {
    void operator()(uint8_t* memory) const { std::free(memory); }
  };
  using PageMemory = std::unique_ptr<uint8_t[], Free>;
  struct Layer {
    size_t length = 0;
    size_t first_page = 0;  // those before are gone
    std::vector<PageMemory> pages;
  };

  size_t first_page_seen(size_t position) const;
  void release_unseen(Layer& layer) const;
  PageMemory new_page() const;
  void rotate(const AttendTask& task, size_t token) const;
  EncodeStatus append_one(const Layer& layer, const AttendTask& task, size_t token) const;
  EncodeStatus append(Layer& layer, const AttendTask& task) const;

  CacheGeometry geometry_;
  std::vector<Layer> layers_;
};

}  // namespace phigguf
