#include "ops/grouped_matmul.h"

namespace phigguf {

void grouped_matmul(const MatmulTask& all, const int32_t* counts, size_t groups) {
  const size_t matrix_bytes = all.n * info(all.type).row_bytes(all.k);
  MatmulTask task = all;
  for (size_t group = 0; group < groups; ++group) {
    task.m = static_cast<size_t>(counts[group]);
    if (task.m != 0) matmul(task);
    task.x += task.m * all.k;
    task.out += task.m * all.n;
    task.weights += matrix_bytes;
  }
}

}  // namespace phigguf
