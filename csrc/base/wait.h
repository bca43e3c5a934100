// Waiting for what another thread does: briefly by looking, then asleep.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/spin_pause.h"

namespace phigguf {

// Looks again and again: at first without pause, for as long as the gap between two operations; then leaving the
// processor to whoever wants it; and gives up when falling asleep costs no more than this has.
template <class Condition>
bool holds_soon(const Condition& holds) {
  constexpr std::chrono::microseconds kUndisturbed{20}, kLongest{100};
  const auto start = std::chrono::steady_clock::now();
  while (true) {
    for (int i = 0; i < 16; ++i) {
      if (holds()) return true;
      spin_pause();
    }
    const auto waited = std::chrono::steady_clock::now() - start;
    if (waited > kLongest) return false;
    if (waited > kUndisturbed) std::this_thread::yield();
  }
}

// Where one thread waits until others make a condition hold. Waking nobody costs them one load.
//
// The condition reads atomics that its changers store before they call `wake`, all sequentially consistent: so
// either the sleeper sees the change or its changer sees the sleeper.
class WaitingPlace {
 public:
  template <class Condition>
  void wait_until(const Condition& holds) {
    if (holds_soon(holds)) return;
    std::unique_lock<std::mutex> lock(mutex_);
    for (asleep_.store(true); !holds(); asleep_.store(true)) changed_.wait(lock);
    asleep_.store(false);
  }

  void wake() {
    if (!asleep_.load()) return;
    {
      const std::lock_guard<std::mutex> lock(mutex_);  // not between its look and its sleep
      asleep_.store(false);
    }
    changed_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<bool> asleep_{false};
};

}  // namespace phigguf
