// The registry of tensor types: one line each. X(name, ggml's id, weights per block).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/half.h"
#include "formats/blocks.h"

#define PHIGGUF_FLOAT_TYPES(X) \
  X(F32, 0, float)             \
  X(F16, 1, float16)           \
  X(BF16, 30, bfloat16)

#define PHIGGUF_BLOCK_TYPES(X) \
  X(Q4_0, 2, 32)               \
  X(Q4_1, 3, 32)               \
  X(Q5_0, 6, 32)               \
  X(Q5_1, 7, 32)               \
  X(Q8_0, 8, 32)               \
  X(Q2_K, 10, 256)             \
  X(Q3_K, 11, 256)             \
  X(Q4_K, 12, 256)             \
  X(Q5_K, 13, 256)             \
  X(Q6_K, 14, 256)

namespace phigguf {

enum class Type : int {
#define PHIGGUF_ENUM(name, ...) name,
  PHIGGUF_FLOAT_TYPES(PHIGGUF_ENUM) PHIGGUF_BLOCK_TYPES(PHIGGUF_ENUM)
#undef PHIGGUF_ENUM
};

struct TypeInfo {
  const char* name;
  int ggml_id;
  int block_width;
  int block_bytes;

  size_t row_bytes(size_t cols) const {
    return cols / static_cast<size_t>(block_width) * static_cast<size_t>(block_bytes);
  }
};

inline constexpr TypeInfo kTypes[] = {
#define PHIGGUF_FLOAT_INFO(name, id, element) {#name, id, 1, static_cast<int>(sizeof(element))},
#define PHIGGUF_BLOCK_INFO(name, id, width) {#name, id, width, static_cast<int>(sizeof(Block##name))},
    PHIGGUF_FLOAT_TYPES(PHIGGUF_FLOAT_INFO) PHIGGUF_BLOCK_TYPES(PHIGGUF_BLOCK_INFO)
#undef PHIGGUF_FLOAT_INFO
#undef PHIGGUF_BLOCK_INFO
};

inline constexpr int kTypeCount = static_cast<int>(sizeof kTypes / sizeof kTypes[0]);
inline constexpr int kFloatTypeCount = 3;

static inline const TypeInfo& info(Type type) { return kTypes[static_cast<int>(type)]; }
static inline bool is_float_type(Type type) { return static_cast<int>(type) < kFloatTypeCount; }

}  // namespace phigguf
