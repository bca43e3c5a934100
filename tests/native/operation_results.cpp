// The operations of simd/simd.h, on the values that tell their implementations apart.
#include <cstring>
#include <iterator>
#include <map>

#include "dispatch/dispatch.h"
#include "inputs.h"
#include "isa_list.h"
#include "operations.h"
#include "results.h"

namespace phigguf {

#define PHIGGUF_DECLARE(name)                                                                  \
  namespace name {                                                                             \
  void visit_operations(const digest::Operands& operands, digest::Visit visit, void* context); \
  }
PHIGGUF_ISA_LIST(PHIGGUF_DECLARE)
#undef PHIGGUF_DECLARE

namespace digest {
namespace {

VisitOperations operations_of(const std::string& isa) {
#define PHIGGUF_MATCH(name) \
  if (isa == #name) return name::visit_operations;
  PHIGGUF_ISA_LIST(PHIGGUF_MATCH)
#undef PHIGGUF_MATCH
  throw std::logic_error("no ISA is named " + isa);
}

constexpr uint32_t kTelling[] = {
    0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007fffff, 0x00800000,  // zeros, denormals, the least normal
    0x3f000000, 0xbf000000, 0x3effffff, 0x3f800000, 0xbf800000, 0x3fc00000,  // halves and ones
    0x4b000001, 0xcb000001, 0x4effffff, 0x4f000000, 0xcf000000, 0xcf000001,  // around 2^23 and the ends of int32
    0x477fe000, 0x477fefff, 0x477ff000, 0x33000000, 0x33000001, 0x387fffff,  // float16's largest, least, denormal
    0x38ffe000, 0x38fff000, 0x3f801000, 0x3f803000, 0x3f801001, 0x33c00000,  // ties of float16
    0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00001,  // the largest, infinities, NaNs
    0x7fa00000, 0x00007fff, 0x7fff8000, 0x80808080, 0xff7fff7f, 0x0101ff80,  // signalling NaN; ends of bytes, words
};

int32_t telling(size_t i) {
  int32_t bits;
  std::memcpy(&bits, &kTelling[i % std::size(kTelling)], sizeof bits);
  return bits;
}

using Hashes = std::map<std::string, Hash>;

void record(void* context, const char* name, bool is_float, const int32_t* lanes, size_t n) {
  Hash& hash = (*static_cast<Hashes*>(context))[name];
  if (is_float) {
    std::vector<float> floats(n);
    std::memcpy(floats.data(), lanes, n * sizeof(float));
    hash.add_floats(floats);
  } else {
    hash.add(lanes, n * sizeof *lanes);
  }
}

}  // namespace

void add_operations(Results& results) {
  const VisitOperations visit_operations = operations_of(kernels().isa);
  Hashes hashes;
  Operands operands;
  for (size_t first = 0; first < std::size(kTelling) * std::size(kTelling); first += kOperandLanes) {
    for (size_t l = 0; l < kOperandLanes; ++l) {  // every pair of telling values
      const size_t i = first + l;
      operands.a[l] = telling(i);
      operands.b[l] = telling(i / std::size(kTelling));
      operands.c[l] = telling(5 * i + i / std::size(kTelling));
    }
    visit_operations(operands, record, &hashes);
  }
  Random random(1);
  for (int round = 0; round < 200; ++round) {
    for (int32_t& bits : operands.a) bits = static_cast<int32_t>(random.bits());
    for (int32_t& bits : operands.b) bits = static_cast<int32_t>(random.bits());
    for (int32_t& bits : operands.c) bits = static_cast<int32_t>(random.bits());
    visit_operations(operands, record, &hashes);
  }
  for (const auto& [name, hash] : hashes) results.add("operation " + name, hash.value());
}

}  // namespace digest
}  // namespace phigguf
