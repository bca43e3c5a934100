// Which instructions this CPU and its operating system let us use, each named after the instructions themselves.
#pragma once

namespace phigguf {

struct CpuFeatures {
  bool avx2, fma, f16c, avx_vnni;                          // with the operating system saving ymm registers
  bool avx512f, avx512bw, avx512dq, avx512vl, avx512vnni;  // with it saving zmm and mask registers
  bool amx_int8;                                           // with it saving tiles and letting this process use them
  bool neon_dotprod, neon_i8mm;
};

CpuFeatures detect_cpu_features();

}  // namespace phigguf
