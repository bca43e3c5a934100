#include "dispatch/cpu_features.h"

#include <cstdint>

#if defined(__x86_64__) || defined(_M_X64)
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#elif defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace phigguf {

#if defined(__x86_64__) || defined(_M_X64)

namespace {

struct Registers {
  uint32_t eax, ebx, ecx, edx;
};

#if defined(_MSC_VER) && !defined(__clang__)
Registers cpuid(uint32_t leaf, uint32_t subleaf) {
  int r[4];
  __cpuidex(r, static_cast<int>(leaf), static_cast<int>(subleaf));
  return {static_cast<uint32_t>(r[0]), static_cast<uint32_t>(r[1]), static_cast<uint32_t>(r[2]),
          static_cast<uint32_t>(r[3])};
}
uint64_t extended_state() { return _xgetbv(0); }
#else
Registers cpuid(uint32_t leaf, uint32_t subleaf) {
  Registers r{};
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}
uint64_t extended_state() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}
#endif

bool bit(uint32_t word, int i) { return (word >> i) & 1u; }

// Linux saves tiles for processes that ask for it, from then on in all their threads.
#if defined(__linux__)
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#else
bool may_use_tiles() { return false; }
#endif

}  // namespace

CpuFeatures detect_cpu_features() {
  CpuFeatures f{};
  const Registers leaf1 = cpuid(1, 0);
  const bool os_uses_xsave = bit(leaf1.ecx, 27);
  const uint64_t saved = os_uses_xsave ? extended_state() : 0;
  const bool ymm = (saved & 0x06) == 0x06, zmm = (saved & 0xe6) == 0xe6;

  const Registers leaf7 = cpuid(7, 0);
  const bool has_subleaf1 = leaf7.eax >= 1;
  f.fma = ymm && bit(leaf1.ecx, 12);
  f.f16c = ymm && bit(leaf1.ecx, 29);
  f.avx2 = ymm && bit(leaf7.ebx, 5);
  f.avx_vnni = ymm && has_subleaf1 && bit(cpuid(7, 1).eax, 4);
  f.avx512f = zmm && bit(leaf7.ebx, 16);
  f.avx512dq = zmm && bit(leaf7.ebx, 17);
  f.avx512bw = zmm && bit(leaf7.ebx, 30);
  f.avx512vl = zmm && bit(leaf7.ebx, 31);
  f.avx512vnni = zmm && bit(leaf7.ecx, 11);
  const bool tiles = (saved & 0x60000) == 0x60000;
  f.amx_int8 = tiles && bit(leaf7.edx, 24) && bit(leaf7.edx, 25) && may_use_tiles();
  return f;
}

#elif defined(__aarch64__) && defined(__linux__)

CpuFeatures detect_cpu_features() {
  constexpr unsigned long kDotprod = 1ul << 20;  // HWCAP_ASIMDDP
  constexpr unsigned long kI8mm = 1ul << 13;     // HWCAP2_I8MM
  CpuFeatures f{};
  f.neon_dotprod = getauxval(AT_HWCAP) & kDotprod;
  f.neon_i8mm = f.neon_dotprod && (getauxval(AT_HWCAP2) & kI8mm);
  return f;
}

#elif defined(__APPLE__)

CpuFeatures detect_cpu_features() {
  const auto has = [](const char* name) {
    int value = 0;
    size_t size = sizeof value;
    return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
  };
  CpuFeatures f{};
  f.neon_dotprod = has("hw.optional.arm.FEAT_DotProd");
  f.neon_i8mm = f.neon_dotprod && has("hw.optional.arm.FEAT_I8MM");
  return f;
}

#else

CpuFeatures detect_cpu_features() { return {}; }

#endif

}  // namespace phigguf
