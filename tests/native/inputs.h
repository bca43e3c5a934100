// Inputs that are the same on every machine: integer random numbers, made floats by exact operations only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/half.h"

namespace phigguf::digest {

// SplitMix64 (Steele, Lea and Flood, 2014).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t bits() {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  int below(int n) { return static_cast<int>(bits() % static_cast<uint64_t>(n)); }

  // Near enough to a normal distribution: mean 0, standard deviation 0.82, a multiple of 2^-16.
  float normal() {
    int sum = -8 * 0x8000;
    for (int i = 0; i < 8; ++i) sum += below(0x10000);
    return static_cast<float>(sum) * 0x1p-16f;
  }
  float power_of_two(int lowest, int highest) {
    return bits_float(static_cast<uint32_t>(lowest + below(highest - lowest + 1) + 127) << 23);
  }

 private:
  uint64_t state_;
};

// What breaks quantizers. `weight(random, i)` is weight i of a tensor.
struct Distribution {
  const char* name;
  float (*weight)(Random& random, size_t i);
};

inline constexpr Distribution kDistributions[] = {
    {"normal", [](Random& r, size_t) { return r.normal(); }},
    {"heavy_tailed", [](Random& r, size_t) { return r.normal() * (r.below(8) ? 1.0f : r.power_of_two(0, 8)); }},
    {"wide", [](Random& r, size_t) { return r.normal() * r.power_of_two(-40, 12); }},
    {"zeros", [](Random& r, size_t) { return r.below(2) ? 0.0f : -0.0f; }},
    {"sparse", [](Random& r, size_t) { return r.below(40) ? 0.0f : r.normal(); }},
    {"constant", [](Random&, size_t) { return -0.7f; }},
    {"outlier", [](Random& r, size_t i) { return i % 251 == 7 ? 1000.0f : r.normal() * 0x1p-10f; }},
    {"ties", [](Random& r, size_t) { return static_cast<float>(r.below(33) - 16) * 0.5f; }},
    {"positive", [](Random& r, size_t) { return 2.0f + r.normal() * 0.25f; }},
    {"negative", [](Random& r, size_t) { return -2.0f + r.normal() * 0.25f; }},
    {"denormal", [](Random& r, size_t) { return bits_float(static_cast<uint32_t>(r.bits()) & 0x807fffffu); }},
    {"near_denormal", [](Random& r, size_t) { return r.normal() * r.power_of_two(-126, -100); }},
    {"huge", [](Random& r, size_t) { return r.normal() * 0x1p+17f; }},
    {"largest", [](Random& r, size_t) { return (r.below(2) ? 0x1.fffffep+127f : -0x1.fffffep+127f); }},
    {"signs", [](Random& r, size_t) { return r.below(2) ? 1.0f : -1.0f; }},
    {"not_finite", [](Random& r, size_t i) { return i == 300 ? bits_float(0x7fc00000u) : r.normal(); }},
};

inline const Distribution& distribution(const std::string& name) {
  for (const Distribution& candidate : kDistributions) {
    if (name == candidate.name) return candidate;
  }
  throw std::logic_error("no distribution is named " + name);
}

inline std::vector<float> weights(const Distribution& distribution, size_t n) {
  Random random(n);
  std::vector<float> out(n);
  for (size_t i = 0; i < n; ++i) out[i] = distribution.weight(random, i);
  return out;
}

// One importance per column: never negative; with `zeros`, often zero, and throughout a whole block.
inline std::vector<float> importance(size_t cols, bool zeros) {
  Random random(cols + (zeros ? 1 : 0));
  std::vector<float> out(cols);
  for (size_t i = 0; i < cols; ++i) {
    const float normal = random.normal();
    const bool zero = zeros && (i < 256 || random.below(3) == 0);
    out[i] = zero ? 0.0f : normal * normal * random.power_of_two(-4, 4) + 0x1p-20f;
  }
  return out;
}

inline std::vector<uint8_t> bytes(size_t n) {
  Random random(n);
  std::vector<uint8_t> out(n);
  for (uint8_t& byte : out) byte = static_cast<uint8_t>(random.bits());
  return out;
}

}  // namespace phigguf::digest
