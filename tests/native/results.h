// What a digest consists of: one named hash per result.
#pragma once

#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "base/half.h"
#include "formats/format_list.h"

namespace phigguf::digest {

class Hash {  // FNV-1a, 64 bits
 public:
  void add(const void* data, size_t size) {
    const auto* byte = static_cast<const uint8_t*>(data);
    for (size_t i = 0; i < size; ++i) value_ = (value_ ^ byte[i]) * 0x100000001b3u;
  }
  // A NaN's sign and payload are the CPU's own affair.
  void add_floats(const std::vector<float>& floats) {
    for (const float x : floats) {
      const uint32_t bits = std::isnan(x) ? 0x7fc00000u : float_bits(x);
      add(&bits, sizeof bits);
    }
  }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0xcbf29ce484222325u;
};

inline uint64_t hash_floats(const std::vector<float>& floats) {
  Hash hash;
  hash.add_floats(floats);
  return hash.value();
}

class Results {
 public:
  void add(const std::string& name, uint64_t hash) {
    char digits[17];
    std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash));
    lines_.push_back(name + " " + digits);
  }
  const std::vector<std::string>& lines() const { return lines_; }

 private:
  std::vector<std::string> lines_;
};

inline std::vector<Type> all_types() {
  std::vector<Type> types;
  for (int i = 0; i < kTypeCount; ++i) types.push_back(static_cast<Type>(i));
  return types;
}

// Each adds the results of the ISA in use.
void add_operations(Results& results);
void add_conversions(Results& results);
void add_products(Results& results);
void add_float_operations(Results& results);

}  // namespace phigguf::digest
