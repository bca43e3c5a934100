// Included before everything else where the kernels run under Bochs 2.7, in place of what it lacks or gets wrong:
// AVX-VNNI, whose two instructions it knows in AVX-512's encoding only; and vcvtps2ph, which rounds ties away from
// zero.
#pragma once

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

#include "base/half.h"

static inline int phigguf_bochs_cpuid(unsigned leaf, unsigned subleaf, unsigned* a, unsigned* b, unsigned* c,
                                      unsigned* d) {
  const int known = __get_cpuid_count(leaf, subleaf, a, b, c, d);
  if (leaf == 7 && subleaf == 0 && *a < 1) *a = 1;  // there is a subleaf 1 ...
  if (leaf == 7 && subleaf == 1) *a |= 1u << 4;     // ... and AVX-VNNI in it
  return known;
}
#define __get_cpuid_count phigguf_bochs_cpuid

#if defined(__AVXVNNI__)
static inline __m256i phigguf_bochs_dpbusd(__m256i sum, __m256i a, __m256i b) {
  __asm__("%{evex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
  return sum;
}
static inline __m256i phigguf_bochs_dpwssd(__m256i sum, __m256i a, __m256i b) {
  __asm__("%{evex%} vpdpwssd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
  return sum;
}
#define _mm256_dpbusd_avx_epi32 phigguf_bochs_dpbusd
#define _mm256_dpwssd_avx_epi32 phigguf_bochs_dpwssd
#endif

template <class To, class From>
static inline To phigguf_bochs_cvtps_ph(From from) {
  constexpr int kLanes = sizeof(From) / sizeof(float);
  float floats[kLanes];
  std::memcpy(floats, &from, sizeof from);
  phigguf::float16 halves[kLanes];
  for (int l = 0; l < kLanes; ++l) halves[l] = phigguf::to_float16(floats[l]);
  To to;
  std::memcpy(&to, halves, sizeof to);
  return to;
}
#undef _mm256_cvtps_ph
#undef _mm512_cvtps_ph
#define _mm256_cvtps_ph(floats, rounding) phigguf_bochs_cvtps_ph<__m128i>(floats)
#define _mm512_cvtps_ph(floats, rounding) phigguf_bochs_cvtps_ph<__m256i>(floats)
#endif
