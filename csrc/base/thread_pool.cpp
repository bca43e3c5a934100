#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <system_error>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <pthread.h>
#endif

#include "base/float_environment.h"
#include "base/shares.h"
#include "base/wait.h"

namespace phigguf {
namespace {

constexpr size_t kMostWorkers = (1 << 16) - 1;

using Clock = std::chrono::steady_clock;

bool never_interrupted() { return false; }
std::atomic<bool (*)()> interrupt_check{never_interrupted};

// Work in progress, and whether it was stopped.
class Job {
 public:
  Job(NumberedWork body, const std::function<bool()>& should_stop) : body_(body), should_stop_(should_stop) {}

  bool stopped() const { return stopped_.load(std::memory_order_relaxed); }

  bool run_one(size_t i) {
    if (stopped()) return false;
    body_(i);
    return true;
  }

  bool run_one_and_check_for_interrupts(size_t i) {
    if (!run_one(i)) return false;
    const auto now = Clock::now();
    if (now - last_check_ < std::chrono::milliseconds(50)) return true;
    last_check_ = now;
    if (interrupt_check.load()() || (should_stop_ && should_stop_())) stopped_.store(true, std::memory_order_relaxed);
    return true;
  }

 private:
  NumberedWork body_;
  const std::function<bool()>& should_stop_;
  std::atomic<bool> stopped_{false};
  Clock::time_point last_check_ = Clock::now();
};

// Workers that wait for jobs. No lock is taken while they are awake.
//
// `round_` says how many workers may help now: none between jobs. A worker that may says that it is busy, and looks
// again: either the job is still open and its caller will wait for the worker, or the worker stays out. So a caller
// never waits for workers that are asleep or have lost their processor, but does their shares itself.
class Pool {
 public:
  explicit Pool(size_t workers) : shares_(workers + 1), workers_(workers) {
    try {
      for (size_t i = 0; i < workers; ++i) workers_[i].thread = std::thread([this, i] { work(i); });
    } catch (const std::system_error&) {  // the system has no more threads to give: do with those that came
    }
  }

  ~Pool() {
    round_.store(kQuit);
    for (Worker& worker : workers_) {
      worker.place.wake();
      if (worker.thread.joinable()) worker.thread.join();
    }
  }

  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  size_t workers() const { return workers_.size(); }

  void run(Job& job, size_t n, size_t helpers) {
    job_ = &job;
    shares_.begin(n, helpers + 1);
    open_round(helpers);
    for (size_t i = 0; i < helpers; ++i) workers_[i].place.wake();
    shares_.hand_out(helpers, [&](size_t i) { return job.run_one_and_check_for_interrupts(i); });
    open_round(0);
    caller_.wait_until([&] { return none_busy(helpers); });
  }

 private:
  struct alignas(64) Worker {  // cache lines of its own
    std::atomic<bool> busy{false};
    WaitingPlace place;
    std::thread thread;
  };

  static constexpr uint64_t kQuit = ~uint64_t{0};

  static bool may_help(size_t worker, uint64_t round) { return worker < round % (kMostWorkers + 1); }

  void open_round(size_t helpers) {
    const uint64_t number = round_.load(std::memory_order_relaxed) / (kMostWorkers + 1) + 1;
    round_.store(number * (kMostWorkers + 1) + helpers);
  }

  bool none_busy(size_t helpers) const {
    for (size_t i = 0; i < helpers; ++i) {
      if (workers_[i].busy.load()) return false;
    }
    return true;
  }

  void work(size_t index) {
    const DefaultFloatEnvironment environment;
    WaitingPlace& place = workers_[index].place;
    for (uint64_t round = 0; round != kQuit;) {
      const uint64_t last = round;
      place.wait_until([&] { return (round = round_.load()) != last && may_help(index, round); });
      if (round != kQuit) help(index, round);
    }
  }

  void help(size_t index, uint64_t round) {
    std::atomic<bool>& busy = workers_[index].busy;
    busy.store(true);
    if (round_.load() == round) shares_.hand_out(index, [&](size_t i) { return job_->run_one(i); });
    busy.store(false);
    caller_.wake();
  }

  alignas(64) std::atomic<uint64_t> round_{0};
  Job* job_ = nullptr;
  WaitingPlace caller_;
  Shares shares_;
  std::vector<Worker> workers_;
};

std::atomic<int> thread_count{0};
std::atomic_flag pool_in_use = ATOMIC_FLAG_INIT;
Pool* pool = nullptr;  // never destroyed at exit: its threads may outlive static destructors

#if !defined(_WIN32)
// A forked child has none of its parent's threads: forget the pool, and start another when work comes.
void forget_pool_after_fork() {
  pool = nullptr;
  pool_in_use.clear();
}
const int fork_handler = pthread_atfork(nullptr, nullptr, forget_pool_after_fork);
#endif

// The right to use the pool, for the thread that asked first.
class PoolTurn {
 public:
  PoolTurn() : taken_(!pool_in_use.test_and_set(std::memory_order_acquire)) {}
  ~PoolTurn() {
    if (taken_) pool_in_use.clear(std::memory_order_release);
  }
  PoolTurn(const PoolTurn&) = delete;
  PoolTurn& operator=(const PoolTurn&) = delete;

  bool taken() const { return taken_; }

 private:
  bool taken_;
};

void run_on_pool(Job& job, size_t n, size_t helpers) {
  if (!pool || pool->workers() < helpers) {
    delete pool;
    pool = nullptr;
    pool = new Pool(helpers);
  }
  pool->run(job, n, helpers);
}

void run_alone(Job& job, size_t n) {
  for (size_t i = 0; i < n && job.run_one_and_check_for_interrupts(i); ++i) {
  }
}

// Tries the pool, which another thread may be using, or the body that makes this call.
bool could_run_on_pool(Job& job, size_t n, size_t helpers) {
  if (helpers == 0) return false;
  const PoolTurn turn;
  if (turn.taken()) run_on_pool(job, n, helpers);
  return turn.taken();
}

}  // namespace

int default_threads() {
  static const unsigned n = std::thread::hardware_concurrency();  // asks the system, which takes microseconds
  return n == 0 ? 1 : static_cast<int>(n);
}

int num_threads() {
  const int n = thread_count.load();
  return n > 0 ? n : default_threads();
}

void set_num_threads(int n) { thread_count = n; }

void set_interrupt_check(bool (*check)()) { interrupt_check = check; }

void parallel_for(size_t n, int threads, NumberedWork body, const std::function<bool()>& should_stop) {
  if (n == 0) return;
  Job job(body, should_stop);
  const auto wanted = static_cast<size_t>(threads > 0 ? threads : num_threads());
  const size_t helpers = std::min({n, wanted, kMostWorkers + 1}) - 1;
  if (!could_run_on_pool(job, n, helpers)) run_alone(job, n);
  if (job.stopped()) throw Interrupted{};
}

}  // namespace phigguf
