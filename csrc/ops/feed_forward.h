// A SwiGLU with what comes before and after it: the RMS norm and the residual.
#pragma once

#include "ops/matmul.h"

namespace phigguf {

// x[m][down.n] += (up * silu(gate)) times the transpose of `down`'s weights. Rows of gate and up, in this order, are
// the products of x with `gate_up`'s weights, along with its norm.
void add_swiglu(float* x, size_t m, const MatmulTask& gate_up, const MatmulTask& down);

}  // namespace phigguf
