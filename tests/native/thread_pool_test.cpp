// The thread pool: every number once, whatever calls what; meant for the thread sanitizer too.
#include "base/thread_pool.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace phigguf {
namespace {

void check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "thread_pool: %s\n", what);
  std::exit(1);
}

// Plain counters: two threads at the same number would be a race that the sanitizer sees.
bool each_once(size_t n, int threads) {
  std::vector<int> calls(n);
  parallel_for(n, threads, [&](size_t i) { ++calls[i]; });
  for (const int count : calls) {
    if (count != 1) return false;
  }
  return true;
}

void test_every_number_comes_once() {
  for (const int threads : {1, 2, 3, 8, 2, 64}) {
    for (const size_t n : {0, 1, 2, 3, 7, 8, 9, 63, 64, 1000})
      check(each_once(n, threads), "a number was not called once");
  }
  for (int repeat = 0; repeat < 20000; ++repeat) check(each_once(repeat % 5, 3), "a number was lost between calls");
}

void test_workers_wake_after_a_rest() {
  for (int rest = 0; rest < 50; ++rest) {
    std::this_thread::sleep_for(std::chrono::microseconds(20 * rest));
    check(each_once(64, 4), "a number was lost after a rest");
  }
}

// Each number waits until the other has begun, so two threads must be at work.
void test_work_is_done_at_the_same_time() {
  std::atomic<int> begun{0};
  parallel_for(2, 2, [&](size_t) {
    ++begun;
    while (begun.load() < 2) std::this_thread::yield();
  });
  check(begun.load() == 2, "one thread did the work of two");
}

// Whoever has the first half is held up in its first number until all others are done. The other thread goes on with
// the later half of what is left, 1 to 19.
void test_numbers_of_busy_threads_are_taken_over() {
  constexpr size_t kNumbers = 40;
  std::atomic<size_t> done{0};
  std::vector<size_t> order;
  parallel_for(kNumbers, 2, [&](size_t i) {
    if (i != 0) order.push_back(i);
    while (i == 0 && done.load() < kNumbers - 1) std::this_thread::yield();
    ++done;
  });
  check(done.load() == kNumbers, "not all were done");
  check(order[0] == 20 && order[19] == 39 && order[20] == 10 && order[29] == 19, "a range was not taken as a stream");
}

void test_calls_from_bodies_run_on_their_own_thread() {
  std::atomic<bool> elsewhere{false};
  parallel_for(8, 4, [&](size_t) {
    const std::thread::id outer = std::this_thread::get_id();
    parallel_for(8, 4, [&](size_t) {
      if (std::this_thread::get_id() != outer) elsewhere = true;
    });
  });
  check(!elsewhere, "a nested call left its thread");
}

void test_threads_may_call_at_once() {
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([] {
      for (int repeat = 0; repeat < 2000; ++repeat) check(each_once(17, 3), "a number was lost between callers");
    });
  }
  for (std::thread& caller : callers) caller.join();
}

void test_an_interrupt_stops_the_work() {
  set_interrupt_check([] { return true; });
  std::atomic<int> calls{0};
  bool interrupted = false;
  try {
    parallel_for(1000000, 2, [&](size_t) {
      ++calls;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    });
  } catch (const Interrupted&) {
    interrupted = true;
  }
  set_interrupt_check([] { return false; });
  check(interrupted && calls.load() < 1000, "the work was not stopped");
  check(each_once(100, 2), "a number was lost after an interrupt");
}

#if !defined(_WIN32)
void test_a_forked_child_has_threads_of_its_own() {
  check(each_once(100, 4), "a number was lost before a fork");
  const pid_t child = fork();
  if (child == 0) _exit(each_once(100, 4) ? 0 : 1);
  int status = 1;
  waitpid(child, &status, 0);
  check(status == 0, "a forked child lost a number");
}
#else
void test_a_forked_child_has_threads_of_its_own() {}
#endif

}  // namespace
}  // namespace phigguf

int main() {
  using namespace phigguf;
  test_every_number_comes_once();
  test_workers_wake_after_a_rest();
  test_work_is_done_at_the_same_time();
  test_numbers_of_busy_threads_are_taken_over();
  test_calls_from_bodies_run_on_their_own_thread();
  test_threads_may_call_at_once();
  test_an_interrupt_stops_the_work();
  test_a_forked_child_has_threads_of_its_own();
}
