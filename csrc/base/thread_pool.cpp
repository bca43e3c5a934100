#include "base/thread_pool.h"

#include <atomic>
#include <cfenv>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace phigguf {
namespace {

using Clock = std::chrono::steady_clock;

bool never_interrupted() { return false; }
std::atomic<bool (*)()> interrupt_check{never_interrupted};

// Round to nearest with denormals, whatever the host process has set; restored at the end of the scope.
class DefaultFloatEnvironment {
 public:
  DefaultFloatEnvironment() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultFloatEnvironment() { std::fesetenv(&saved_); }
  DefaultFloatEnvironment(const DefaultFloatEnvironment&) = delete;
  DefaultFloatEnvironment& operator=(const DefaultFloatEnvironment&) = delete;

 private:
  std::fenv_t saved_;
};

struct Job {
  const std::function<void(size_t)>* body;
  size_t n;
  std::atomic<size_t> next{0};
  std::atomic<bool> stopped{false};

  bool run_one() {
    if (stopped.load(std::memory_order_relaxed)) return false;
    const size_t i = next.fetch_add(1, std::memory_order_relaxed);
    if (i >= n) return false;
    (*body)(i);
    return true;
  }

  void run() {
    while (run_one()) {
    }
  }

  void run_watching_for_interrupts() {
    auto last_check = Clock::now();
    while (run_one()) {
      const auto now = Clock::now();
      if (now - last_check < std::chrono::milliseconds(50)) continue;
      last_check = now;
      if (interrupt_check.load()()) stopped = true;
    }
  }
};

class Pool {
 public:
  explicit Pool(int workers) {
    for (int i = 0; i < workers; ++i) threads_.emplace_back([this, i] { work(i); });
  }

  ~Pool() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      quit_ = true;
      generation_.fetch_add(1);
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int workers() const { return static_cast<int>(threads_.size()); }

  void run(Job& job, int helpers) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      job_ = &job;
      helpers_ = helpers;
      busy_.store(workers());
      generation_.fetch_add(1);
    }
    wake_.notify_all();
    job.run_watching_for_interrupts();
    while (busy_.load(std::memory_order_acquire) != 0) std::this_thread::yield();
  }

 private:
  // Work often follows work within microseconds, so a worker spins a little before it sleeps.
  void wait_for_change(unsigned seen) {
    for (int spin = 0; spin < 2000; ++spin) {
      if (generation_.load(std::memory_order_acquire) != seen) return;
      if (spin % 64 == 63) std::this_thread::yield();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    wake_.wait(lock, [&] { return generation_.load() != seen; });
  }

  void work(int index) {
    std::fesetenv(FE_DFL_ENV);
    unsigned seen = 0;
    while (true) {
      wait_for_change(seen);
      Job* job = nullptr;
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        seen = generation_.load();
        if (quit_) return;
        if (index < helpers_) job = job_;
      }
      if (job) job->run();
      busy_.fetch_sub(1, std::memory_order_release);
    }
  }

  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<unsigned> generation_{0};
  std::atomic<int> busy_{0};
  Job* job_ = nullptr;
  int helpers_ = 0;
  bool quit_ = false;
};

std::mutex pool_mutex;
std::atomic<int> thread_count{0};
Pool* pool = nullptr;  // never destroyed at exit: its threads may outlive static destructors

#if !defined(_WIN32)
// A forked child has none of its parent's threads: forget the pool, and start another when work comes.
void forget_pool_after_fork() {
  pool = nullptr;
  new (&pool_mutex) std::mutex;
}
const int fork_handler = pthread_atfork(nullptr, nullptr, forget_pool_after_fork);
#endif

}  // namespace

int default_threads() {
  const unsigned n = std::thread::hardware_concurrency();
  return n == 0 ? 1 : static_cast<int>(n);
}

int num_threads() {
  const int n = thread_count.load();
  return n > 0 ? n : default_threads();
}

void set_num_threads(int n) { thread_count = n; }

void set_interrupt_check(bool (*check)()) { interrupt_check = check; }

void parallel_for(size_t n, int threads, const std::function<void(size_t)>& body) {
  const DefaultFloatEnvironment environment;
  Job job;
  job.body = &body;
  job.n = n;
  const int wanted = threads > 0 ? threads : num_threads();
  const int helpers = static_cast<int>(n < static_cast<size_t>(wanted) ? n : static_cast<size_t>(wanted)) - 1;
  std::unique_lock<std::mutex> lock(pool_mutex, std::defer_lock);
  if (helpers > 0 && lock.try_lock()) {
    if (!pool || pool->workers() < helpers) {
      delete pool;
      pool = new Pool(helpers);
    }
    pool->run(job, helpers);
  } else {
    job.run_watching_for_interrupts();
  }
  if (job.stopped) throw Interrupted{};
}

}  // namespace phigguf
