// What this machine can do at most, as JSON: multiply-adds and bytes read per second, by 1 and by n threads.
//
//     c++ -O3 -march=native -pthread machine_limits.cpp -o machine_limits && ./machine_limits 2
//
// int8: the products of unsigned and signed bytes summed in int32, by the best instruction of the CPU that it is
// compiled for. float32: fused multiply-adds of whole vectors. Both keep enough independent sums in registers to hide
// latency, and touch no memory. read: every thread sums its own part of a buffer larger than caches, in huge pages and
// in small ones.
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#else
#include <arm_neon.h>
#endif

namespace {

constexpr int kSums = 12;                       // independent chains
constexpr std::size_t kReadBytes = 256u << 20;  // per run, by all threads together
constexpr double kSeconds = 0.1;                // of each measurement

#if defined(__AVX512VNNI__)
using Int8Sums = __m512i;
constexpr int kInt8PerStep = 64;
const char* const kInt8Name = "vpdpbusd, 512 bits";
struct Int8Step {
  Int8Sums operator()(Int8Sums sums, Int8Sums a, Int8Sums b) const { return _mm512_dpbusd_epi32(sums, a, b); }
};
inline Int8Sums int8_fill(int x) { return _mm512_set1_epi32(x); }
#elif defined(__AVXVNNI__)
using Int8Sums = __m256i;
constexpr int kInt8PerStep = 32;
const char* const kInt8Name = "vpdpbusd, 256 bits";
struct Int8Step {
  Int8Sums operator()(Int8Sums sums, Int8Sums a, Int8Sums b) const { return _mm256_dpbusd_avx_epi32(sums, a, b); }
};
inline Int8Sums int8_fill(int x) { return _mm256_set1_epi32(x); }
#elif defined(__AVX2__)
using Int8Sums = __m256i;
constexpr int kInt8PerStep = 32;
const char* const kInt8Name = "vpmaddubsw and vpmaddwd, 256 bits";
struct Int8Step {
  Int8Sums operator()(Int8Sums sums, Int8Sums a, Int8Sums b) const {
    return _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1)));
  }
};
inline Int8Sums int8_fill(int x) { return _mm256_set1_epi32(x); }
#elif defined(__ARM_FEATURE_DOTPROD)
using Int8Sums = int32x4_t;
constexpr int kInt8PerStep = 16;
const char* const kInt8Name = "sdot, 128 bits";
struct Int8Step {
  Int8Sums operator()(Int8Sums sums, Int8Sums a, Int8Sums b) const {
    return vdotq_s32(sums, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b));
  }
};
inline Int8Sums int8_fill(int x) { return vdupq_n_s32(x); }
#else
#error "no int8 dot product is known for this CPU"
#endif

#if defined(__AVX512F__)
using FloatSums = __m512;
constexpr int kFloatsPerStep = 16;
struct FloatStep {
  FloatSums operator()(FloatSums sums, FloatSums a, FloatSums b) const { return _mm512_fmadd_ps(a, b, sums); }
};
inline FloatSums float_fill(float x) { return _mm512_set1_ps(x); }
#elif defined(__x86_64__)
using FloatSums = __m256;
constexpr int kFloatsPerStep = 8;
struct FloatStep {
  FloatSums operator()(FloatSums sums, FloatSums a, FloatSums b) const { return _mm256_fmadd_ps(a, b, sums); }
};
inline FloatSums float_fill(float x) { return _mm256_set1_ps(x); }
#else
using FloatSums = float32x4_t;
constexpr int kFloatsPerStep = 4;
struct FloatStep {
  FloatSums operator()(FloatSums sums, FloatSums a, FloatSums b) const { return vfmaq_f32(sums, a, b); }
};
inline FloatSums float_fill(float x) { return vdupq_n_f32(x); }
#endif

// Makes the compiler believe that a register was used and may have changed.
template <class Vector>
inline void keep(Vector& value) {
#if defined(__x86_64__)
  asm volatile("" : "+x"(value));
#else
  asm volatile("" : "+w"(value));
#endif
}

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <class Vector, class Step>
std::uint64_t run_steps(Vector a, Vector b, Step step, const std::atomic<bool>& stop) {
  // Twelve variables and no array, which compilers keep in memory.
  Vector s0 = a, s1 = a, s2 = a, s3 = a, s4 = a, s5 = a, s6 = a, s7 = a, s8 = a, s9 = a, s10 = a, s11 = a;
  const auto add = [&](auto&... sums) {
    (..., (keep(a), sums = step(sums, a, b), keep(sums)));  // a changes, so no product is used twice
  };
  std::uint64_t steps = 0;
  while (!stop.load(std::memory_order_relaxed)) {
    for (int i = 0; i < 1000; ++i) add(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11);
    steps += 1000 * kSums;
  }
  return steps;
}

// Runs work on every thread for a while; returns the sum of what it counted per second.
double per_second(int threads, const std::function<std::uint64_t(int, const std::atomic<bool>&)>& work) {
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> counted{0};
  std::vector<std::thread> pool;
  const double start = seconds_now();
  for (int thread = 0; thread < threads; ++thread) pool.emplace_back([&, thread] { counted += work(thread, stop); });
  std::this_thread::sleep_for(std::chrono::duration<double>(kSeconds));
  stop = true;
  for (auto& thread : pool) thread.join();
  return static_cast<double>(counted) / (seconds_now() - start);
}

double int8_per_second(int threads) {
  return kInt8PerStep * per_second(threads, [](int, const std::atomic<bool>& stop) {
           return run_steps(int8_fill(0x01020103), int8_fill(0x02010301), Int8Step{}, stop);
         });
}

double floats_per_second(int threads) {
  return kFloatsPerStep * per_second(threads, [](int, const std::atomic<bool>& stop) {
           return run_steps(float_fill(1.0F), float_fill(1e-9F), FloatStep{}, stop);
         });
}

// Each thread reads its part as several streams at once: more requests are on their way than for one.
double bytes_per_second(int threads, const char* buffer) {
  constexpr std::size_t kBlock = 65536;  // bytes of a stream between looks at the clock
  constexpr std::size_t kStreams = 4;
  using Words = long long __attribute__((vector_size(32)));
  return per_second(threads, [&](int thread, const std::atomic<bool>& stop) {
    const std::size_t part = kReadBytes / static_cast<std::size_t>(threads) / kStreams;
    const char* const begin = buffer + static_cast<std::size_t>(thread) * part * kStreams;
    Words s0 = {}, s1 = {}, s2 = {}, s3 = {};
    std::uint64_t bytes = 0;
    for (std::size_t at = 0; !stop.load(std::memory_order_relaxed); at = (at + kBlock) % (part - kBlock)) {
      for (std::size_t i = at; i < at + kBlock; i += 4 * sizeof(Words)) {
        for (std::size_t stream = 0; stream < kStreams; ++stream) {
          const auto* const words = reinterpret_cast<const Words*>(begin + stream * part + i);
          s0 += words[0], s1 += words[1], s2 += words[2], s3 += words[3];
        }
      }
      bytes += kBlock * kStreams;
    }
    keep(s0), keep(s1), keep(s2), keep(s3);
    return bytes;
  });
}

// Memory that is there; in huge pages, or in small ones as a mapped file has them.
char* allocate(bool huge) {
  void* const memory = mmap(nullptr, kReadBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) std::exit(1);
#if defined(MADV_HUGEPAGE)
  madvise(memory, kReadBytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#endif
  std::memset(memory, 1, kReadBytes);
  return static_cast<char*>(memory);
}

}  // namespace

int main(int count, char** arguments) {
  const int threads = count > 1 ? std::atoi(arguments[1]) : 1;
  if (threads < 1) return 2;
  const char* const huge = allocate(true);
  const char* const small = allocate(false);
  std::printf("{\"int8_instruction\": \"%s\"", kInt8Name);
  for (const int used : {1, threads}) {
    std::printf(", \"%s\": {\"threads\": %d", used == 1 && threads > 1 ? "one" : "all", used);
    std::printf(", \"int8_macs\": %.4g, \"float32_macs\": %.4g", int8_per_second(used), floats_per_second(used));
    std::printf(", \"read_bytes\": %.4g", bytes_per_second(used, huge));
    std::printf(", \"read_small_pages_bytes\": %.4g}", bytes_per_second(used, small));
    if (threads == 1) break;
  }
  std::printf("}\n");
}
