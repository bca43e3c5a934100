// What one parallel_for costs: empty bodies, called back to back and after pauses as between a model's operations.
//
// Built as `bench_thread_pool` with -DPHIGGUF_BUILD_DIGEST=ON. One argument: threads. JSON: microseconds per call.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/thread_pool.h"

namespace {

using Clock = std::chrono::steady_clock;

double micros(Clock::duration time) { return std::chrono::duration<double, std::micro>(time).count(); }

void busy_for(double us) {
  const auto start = Clock::now();
  while (micros(Clock::now() - start) < us) {
  }
}

void measure(const char* name, size_t n, int threads, double pause_us, double body_us) {
  std::vector<double> times;
  for (int call = 0; call < 5000; ++call) {
    busy_for(pause_us);
    const auto start = Clock::now();
    phigguf::parallel_for(n, threads, [=](size_t) {
      if (body_us > 0) busy_for(body_us);
    });
    times.push_back(micros(Clock::now() - start));
  }
  std::sort(times.begin(), times.end());
  std::printf(
      "{\"case\": \"%s\", \"n\": %zu, \"threads\": %d, \"median_us\": %.2f, \"p90_us\": %.2f, \"p99_us\": %.2f}\n",
      name, n, threads, times[times.size() / 2], times[times.size() * 9 / 10], times[times.size() * 99 / 100]);
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 0;
  const auto count = static_cast<size_t>(threads > 0 ? threads : phigguf::num_threads());
  for (const size_t n : {count, size_t{64}}) {
    measure("back to back", n, threads, 0, 0);
    measure("after 20 us", n, threads, 20, 0);
    measure("after 300 us", n, threads, 300, 0);
    measure("bodies of 5 us after 20 us", n, threads, 20, 5);
  }
}
