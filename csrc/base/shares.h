// The numbers 0 to n - 1, handed out to threads: each takes a contiguous range in order, so that memory is read as a
// stream, and then the later half of what another has left, in which it does not cross that one's way.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace phigguf {

class Shares {
 public:
  explicit Shares(size_t most_threads) : ranges_(std::make_unique<Range[]>(most_threads)) {}

  // n is below 2^32.
  void begin(size_t n, size_t threads) {
    threads_ = threads;
    for (size_t i = 0; i < threads; ++i) ranges_[i].set({n * i / threads, n * (i + 1) / threads});
  }

  // Calls take(number) for one number after another until none is left or it returns false.
  template <class Take>
  void hand_out(size_t thread, const Take& take) {
    Range& own = ranges_[thread];
    do {
      for (Numbers left = own.take_first(); !left.none(); left = own.take_first()) {
        if (!take(left.next)) return;
      }
    } while (take_over(thread));
  }

 private:
  struct Numbers {
    uint64_t next, end;
    bool none() const { return next >= end; }
  };

  // In one word, a cache line each.
  class alignas(64) Range {
   public:
    void set(Numbers numbers) { word_.store(packed(numbers), std::memory_order_relaxed); }

    // Returns what there was, of which the first, if any, is taken.
    Numbers take_first() { return unpacked(word_.fetch_add(1, std::memory_order_relaxed)); }

    // Takes the later half; more than half of an odd number.
    Numbers take_half() {
      uint64_t word = word_.load(std::memory_order_relaxed);
      while (true) {
        const Numbers left = unpacked(word);
        if (left.none()) return left;
        const uint64_t middle = left.next + (left.end - left.next) / 2;
        if (word_.compare_exchange_weak(word, packed({left.next, middle}), std::memory_order_relaxed)) {
          return {middle, left.end};
        }
      }
    }

   private:
    static uint64_t packed(Numbers numbers) { return numbers.end << 32 | numbers.next; }
    static Numbers unpacked(uint64_t word) { return {word & 0xffffffff, word >> 32}; }

    std::atomic<uint64_t> word_{0};
  };

  bool take_over(size_t thread) {
    for (size_t i = 1; i < threads_; ++i) {
      const Numbers half = ranges_[(thread + i) % threads_].take_half();
      if (half.none()) continue;
      ranges_[thread].set(half);
      return true;
    }
    return false;
  }

  std::unique_ptr<Range[]> ranges_;
  size_t threads_ = 0;
};

}  // namespace phigguf
