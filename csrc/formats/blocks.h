// ggml's block layouts as plain C structs. Every field is bytes or float16 bits, so no layout has padding.
#pragma once

#include <cstdint>

namespace phigguf {

struct BlockQ4_0 {
  uint16_t scale;
  uint8_t low[16];
};
struct BlockQ4_1 {
  uint16_t scale;
  uint16_t min;
  uint8_t low[16];
};
struct BlockQ5_0 {
  uint16_t scale;
  uint8_t high[4];
  uint8_t low[16];
};
struct BlockQ5_1 {
  uint16_t scale;
  uint16_t min;
  uint8_t high[4];
  uint8_t low[16];
};
struct BlockQ8_0 {
  uint16_t scale;
  int8_t code[32];
};
struct BlockQ2_K {
  uint8_t sub_scales[16];
  uint8_t low[64];
  uint16_t scale;
  uint16_t min;
};
struct BlockQ3_K {
  uint8_t high[32];
  uint8_t low[64];
  uint8_t sub_scales[12];
  uint16_t scale;
};
struct BlockQ4_K {
  uint16_t scale;
  uint16_t min;
  uint8_t sub_scales[12];
  uint8_t low[128];
};
struct BlockQ5_K {
  uint16_t scale;
  uint16_t min;
  uint8_t sub_scales[12];
  uint8_t high[32];
  uint8_t low[128];
};
struct BlockQ6_K {
  uint8_t low[128];
  uint8_t high[64];
  int8_t sub_scales[16];
  uint16_t scale;
};

static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20);
static_assert(sizeof(BlockQ5_0) == 22 && sizeof(BlockQ5_1) == 24);
static_assert(sizeof(BlockQ8_0) == 34);
static_assert(sizeof(BlockQ2_K) == 84 && sizeof(BlockQ3_K) == 110);
static_assert(sizeof(BlockQ4_K) == 144 && sizeof(BlockQ5_K) == 176 && sizeof(BlockQ6_K) == 210);

}  // namespace phigguf
