// A page of cached keys and values: [key or value][kv head][position][head_dim] and, where attention takes codes, the
// largest magnitude of each such row, [key or value][kv head][position].
#pragma once

#include "kernels/compute_jobs.h"

namespace phigguf {

struct CachePage {
  size_t kv_heads, head_dim;
  Type type;

  bool has_peaks() const { return attention_takes_codes(type, head_dim); }
  size_t row_bytes() const { return info(type).row_bytes(head_dim); }
  size_t blocks_per_row() const { return head_dim / static_cast<size_t>(info(type).block_width); }

  // `series` is a head's keys, or kv_heads on, its values.
  size_t rows_offset(size_t series) const { return series * kPagePositions * row_bytes(); }
  size_t peaks_offset(size_t series) const {
    return rows_offset(2 * kv_heads) + (has_peaks() ? series * kPagePositions * sizeof(float) : 0);
  }
  size_t bytes() const { return peaks_offset(2 * kv_heads); }
  CachedRows rows(const uint8_t* const* pages, size_t series) const {
    return {pages, rows_offset(series), row_bytes(), peaks_offset(series)};
  }
};

}  // namespace phigguf
