#include "dispatch/dispatch.h"

#include <atomic>
#include <cstdlib>

#include "dispatch/cpu_features.h"
#include "isa_list.h"  // written by the build: PHIGGUF_ISA_LIST(X), X(name) for every ISA compiled, best first

namespace phigguf {

#define PHIGGUF_DECLARE(name)        \
  namespace name {                   \
  const KernelTable& kernel_table(); \
  }
PHIGGUF_ISA_LIST(PHIGGUF_DECLARE)
#undef PHIGGUF_DECLARE

namespace {

namespace runs {
[[maybe_unused]] bool avx512vnni(const CpuFeatures& f) {
  return f.avx2 && f.fma && f.f16c && f.avx512f && f.avx512bw && f.avx512dq && f.avx512vl && f.avx512vnni;
}
[[maybe_unused]] bool amx_int8(const CpuFeatures& f) { return avx512vnni(f) && f.amx_int8; }
[[maybe_unused]] bool avxvnni(const CpuFeatures& f) { return f.avx2 && f.fma && f.f16c && f.avx_vnni; }
[[maybe_unused]] bool avx2(const CpuFeatures& f) { return f.avx2 && f.fma && f.f16c; }
[[maybe_unused]] bool neon_i8mm(const CpuFeatures& f) { return f.neon_dotprod && f.neon_i8mm; }
[[maybe_unused]] bool neon_dotprod(const CpuFeatures& f) { return f.neon_dotprod; }
[[maybe_unused]] bool scalar(const CpuFeatures&) { return true; }
}  // namespace runs

struct Variant {
  const char* name;
  bool available;
  const KernelTable& (*table)();
};

const std::vector<Variant>& variants() {
  static const std::vector<Variant> kVariants = [] {
    const CpuFeatures features = detect_cpu_features();
    return std::vector<Variant>{
#define PHIGGUF_VARIANT(name) {#name, runs::name(features), &name::kernel_table},
        PHIGGUF_ISA_LIST(PHIGGUF_VARIANT)
#undef PHIGGUF_VARIANT
    };
  }();
  return kVariants;
}

const KernelTable* find_table(const std::string& name) {
  for (const Variant& variant : variants()) {
    if (variant.available && name == variant.name) return &variant.table();
  }
  return nullptr;
}

const KernelTable* best_table() {
  for (const Variant& variant : variants()) {
    if (variant.available) return &variant.table();
  }
  return nullptr;  // not reached: scalar is always compiled
}

std::string forced_isa() {
  const char* name = std::getenv("PHIGGUF_ISA");
  return name ? name : "";
}

// Read when the library is loaded; an unknown name is reported where kernels are first asked for, not by the loader.
const std::string forced = forced_isa();
std::atomic<const KernelTable*> current{forced.empty() ? best_table() : find_table(forced)};

}  // namespace

const KernelTable& kernels() {
  if (const KernelTable* table = current.load(std::memory_order_acquire)) return *table;
  throw UnknownIsa(forced);
}

std::vector<std::string> compiled_isas() {
  std::vector<std::string> names;
  for (const Variant& variant : variants()) names.emplace_back(variant.name);
  return names;
}

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Variant& variant : variants()) {
    if (variant.available) names.emplace_back(variant.name);
  }
  return names;
}

bool select_isa(const std::string& name) {
  const KernelTable* table = find_table(name);
  if (table) current.store(table, std::memory_order_release);
  return table != nullptr;
}

}  // namespace phigguf
