// The numbers 0 to n - 1, handed out to threads: each takes its own contiguous share in order, so that memory is read
// as a stream, and then what is left of the others'.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

namespace phigguf {

class Shares {
 public:
  explicit Shares(size_t most_threads) : shares_(std::make_unique<Share[]>(most_threads)) {}

  void begin(size_t n, size_t threads) {
    threads_ = threads;
    for (size_t i = 0; i < threads; ++i) {
      shares_[i].next.store(n * i / threads, std::memory_order_relaxed);
      shares_[i].end = n * (i + 1) / threads;
    }
  }

  // Calls take(number) for one number after another until none is left or it returns false.
  template <class Take>
  void hand_out(size_t thread, const Take& take) {
    for (size_t i = 0; i < threads_; ++i) {
      Share& share = shares_[(thread + i) % threads_];
      while (share.next.load(std::memory_order_relaxed) < share.end) {
        const size_t number = share.next.fetch_add(1, std::memory_order_relaxed);
        if (number < share.end && !take(number)) return;
      }
    }
  }

 private:
  struct alignas(64) Share {  // a cache line each
    std::atomic<size_t> next{0};
    size_t end = 0;
  };

  std::unique_ptr<Share[]> shares_;
  size_t threads_ = 0;
};

}  // namespace phigguf
