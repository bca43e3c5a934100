// Products of activations that are sorted into groups with a matrix of each group's own, as experts need.
#pragma once

#include "ops/matmul.h"

namespace phigguf {

// Rows of all.x lie group after group, counts[g] of group g; they sum to all.m. Matrix g of all.weights follows the
// one before. Every row of all.out is what `matmul` makes of it with its group's matrix.
void grouped_matmul(const MatmulTask& all, const int32_t* counts, size_t groups);

}  // namespace phigguf
