#include "ops/map_cached.h"

#include <algorithm>

#include "base/file_access.h"
#include "base/thread_pool.h"

namespace phigguf {

void map_cached(const uint8_t* bytes, size_t size, int file, uint64_t offset) {
  constexpr size_t kPiece = 2 << 20;  // of which the first byte stands for all
  parallel_for((size + kPiece - 1) / kPiece, 0, [&](size_t piece) {
    const size_t first = piece * kPiece;
    if (is_cached(file, offset + first)) map_pages(bytes + first, std::min(kPiece, size - first));
  });
}

}  // namespace phigguf
