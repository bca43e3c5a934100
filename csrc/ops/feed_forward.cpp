#include "ops/feed_forward.h"

#include <vector>

namespace phigguf {

void add_swiglu(float* x, size_t m, const MatmulTask& gate_up, const MatmulTask& down) {
  thread_local std::vector<float> between;  // kept: a prompt's would be tens of megabytes of fresh pages
  if (between.size() < m * gate_up.n) between.resize(m * gate_up.n);

  MatmulTask first = gate_up, second = down;
  first.m = second.m = m;
  first.x = x;
  first.out = between.data();
  second.x = between.data();
  second.gated = true;
  second.out = x;
  second.accumulate = true;
  matmul(first);
  matmul(second);
}

}  // namespace phigguf
