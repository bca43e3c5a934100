// The arguments of the kernels that compute with weights: plain data, shared by every ISA and by csrc/ops.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/format_list.h"

namespace phigguf {

// Activations as the integer matmul wants them; activations.h says what is in them. Block b of all tokens comes
// before block b + 1: of token t it is block number b * tokens + t. There is at most one correction to
// kCorrectionWidth codes. Kernels may read, and make no use of, kReadPastBlocks blocks behind the last.
constexpr size_t kCorrectionWidth = 8;
constexpr size_t kReadPastBlocks = 15;
struct Activations {
  int8_t* codes;
  int32_t* corrections;
  float* scales;
  size_t tokens;
};

// Float activations of a token begin this many after those of the token before; there are zeros after their ends. An
// odd number of cache lines spreads tokens over a cache's sets.
constexpr size_t x_stride(size_t cols) { return (cols + 15) / 16 * 16 | 16; }

// out[t * out_stride + r] = the product of token t and weight row r.
struct MatmulJob {
  const uint8_t* weights;
  size_t rows, cols, tokens;
  const float* x;           // [tokens][x_stride(cols)], for float weights
  Activations activations;  // for block weights
  float* out;
  size_t out_stride;
  bool accumulate;  // add to what is there
};

constexpr size_t kSpanPositions = 512;  // positions whose attention is summed apart from that to others

// The cached keys and values of one head: pages of kPagePositions rows, in a tensor type.
constexpr size_t kPagePositions = 256;
struct CachedRows {
  const uint8_t* const* pages;
  size_t page_offset;  // bytes from a page's beginning to this head's first row
  size_t row_bytes;
  size_t peaks_offset;  // to the largest magnitude of each of these rows, a float; where attention takes codes
};

// Whether attention multiplies codes of such rows, and not floats: their sums must fit 32 bits.
constexpr size_t kMostCodeDimensions = 128;
constexpr bool attention_takes_codes(Type type, size_t head_dim) {
  return type != Type::F32 && head_dim <= kMostCodeDimensions;
}

// Consecutive tokens, and the query heads that share one key-value head.
struct AttentionJob {
  const float* queries;  // token t, head h at t * query_stride + h * head_dim
  size_t query_stride;
  float* out;  // likewise
  size_t out_stride;
  size_t tokens, first_position, heads, head_dim;
  size_t window;  // a query sees this many positions, itself included; 0: all up to itself
  float scale;
  CachedRows keys, values;
  Type type;
  size_t blocks_per_row;
  void (*decode)(const uint8_t* blocks, size_t n_blocks, float* out);
  float* scratch;  // attention_scratch(job) floats
};

}  // namespace phigguf
