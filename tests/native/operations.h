// Every operation of simd/simd.h on given bits.
//
// operations.cpp is compiled once per ISA and sealed like the kernels, so it knows no strings and no containers: it
// hands its results to a function of ours.
#pragma once

#include <cstddef>
#include <cstdint>

namespace phigguf::digest {

// Bits for three operands, as many of each as the widest vector has lanes.
constexpr size_t kOperandLanes = 16;
struct Operands {
  int32_t a[kOperandLanes], b[kOperandLanes], c[kOperandLanes];
};

// Told what operation `name` made of some lanes, in order.
using Visit = void (*)(void* context, const char* name, bool is_float, const int32_t* lanes, size_t n);

using VisitOperations = void (*)(const Operands& operands, Visit visit, void* context);

}  // namespace phigguf::digest
