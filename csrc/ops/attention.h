// Attention of new tokens over the cached keys and values of their sequence, work split over all threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/cache_page.h"

namespace phigguf {

// One layer of one sequence.
struct CachedLayer {
  const uint8_t* const* pages;
  CachePage page;
  size_t window;  // positions that a query sees, itself included; 0: all
};

// Cosines and sines for the first 2 * half dimensions of a head, [tokens][half].
struct Rotation {
  const float* cosines;
  const float* sines;
  size_t half;
};

// Rows of queries, keys and values side by side, [tokens][(heads + 2 * kv_heads) * head_dim].
struct AttendTask {
  float* qkv;
  size_t tokens, heads;
  Rotation rotation;  // of queries and keys, in place, before all else
  float scale;
  float* out;  // [tokens][heads * head_dim]
};

// Token t is at position first_position + t; the cache holds its key and value already.
void attend(const CachedLayer& cache, const AttendTask& task, size_t first_position);

}  // namespace phigguf
