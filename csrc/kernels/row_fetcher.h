// Asks for memory that is read later, a line from each of several streams at a time. No stream is followed past the end
// of its page, and one does not fill the memory bus. A core waits for few lines at once and stops when it wants more,
// so steps go along with the work on what is here.
#pragma once

#include "simd/simd.h"

PHIGGUF_BEGIN_ISA

class RowFetcher {
 public:
  RowFetcher() = default;
  RowFetcher(const uint8_t* rows, size_t size) : next_(rows), end_(rows), stream_bytes_(size / kStreams) {}

  // Lets steps go on for `bytes` more.
  void allow(size_t bytes) { end_ += bytes / kStreams; }

  PHIGGUF_INLINE void step() {
    if (next_ >= end_) return;
    for (size_t stream = 0; stream < kStreams; ++stream) __builtin_prefetch(next_ + stream * stream_bytes_, 0, 2);
    next_ += kCacheLine;
  }

 private:
  static constexpr size_t kStreams = 4, kCacheLine = 64;
  const uint8_t *next_ = nullptr, *end_ = nullptr;
  size_t stream_bytes_ = 0;
};

PHIGGUF_END_ISA
