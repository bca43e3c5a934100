#include "ops/feed_forward.h"

#include "base/scratch.h"

namespace phigguf {

void add_swiglu(float* x, size_t m, const MatmulTask& gate_up, const MatmulTask& down) {
  thread_local Scratch<float> memory;
  float* between = memory.reserve(m * gate_up.n);

  MatmulTask first = gate_up, second = down;
  first.m = second.m = m;
  first.x = x;
  first.out = between;
  second.x = between;
  second.gated = true;
  second.out = x;
  second.accumulate = true;
  matmul(first);
  matmul(second);
}

}  // namespace phigguf
