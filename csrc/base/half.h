// float16 and bfloat16 in plain integer arithmetic: round to nearest even, denormals kept, as IEEE 754 and ggml do.
//
// Everything here is `static inline`, so that no ISA's copy can be linked into another's code.
#pragma once

#include <cstdint>
#include <cstring>

namespace phigguf {

struct float16 {
  uint16_t bits;
};

struct bfloat16 {
  uint16_t bits;
};

static inline uint32_t float_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

static inline float bits_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

static inline float to_float(float value) { return value; }

static inline float to_float(bfloat16 value) { return bits_float(static_cast<uint32_t>(value.bits) << 16); }

static inline float to_float(float16 value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
  const uint32_t exponent = (value.bits >> 10) & 31u;
  const uint32_t fraction = value.bits & 0x3ffu;
  if (exponent == 0) {  // zero or denormal: fraction * 2^-24 is exact in float32
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return bits_float(sign | float_bits(magnitude));
  }
  if (exponent == 31) {  // infinity, or a NaN made quiet as the hardware conversions do
    return bits_float(sign | 0x7f800000u | (fraction << 13) | (fraction ? 0x00400000u : 0u));
  }
  return bits_float(sign | ((exponent + 112u) << 23) | (fraction << 13));
}

static inline bfloat16 to_bfloat16(float value) {
  const uint32_t bits = float_bits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
  }
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

static inline float16 to_float16(float value) {
  const uint32_t bits = float_bits(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  uint32_t half;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00u;
  } else if (magnitude >= 0x477ff000u) {  // 65520 and above round to infinity
    half = 0x7c00u;
  } else if (magnitude >= 0x38800000u) {  // normal in float16
    half = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  } else {  // adding 0.5 leaves the float16 denormal, correctly rounded, in the low bits
    half = float_bits(bits_float(magnitude) + 0.5f) - 0x3f000000u;
  }
  return {static_cast<uint16_t>(sign | half)};
}

}  // namespace phigguf
