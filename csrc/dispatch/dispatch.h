// Which ISA's kernels run.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/kernel_table.h"

namespace phigguf {

// What PHIGGUF_ISA names is not available.
struct UnknownIsa : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

// The kernels in use: the best this CPU runs, or what PHIGGUF_ISA or select_isa chose. Throws UnknownIsa with the
// name that PHIGGUF_ISA had when the library was loaded, until select_isa has chosen.
const KernelTable& kernels();

std::vector<std::string> compiled_isas();   // best first
std::vector<std::string> available_isas();  // those of them that this CPU runs

// False, and nothing changes, where `name` is not available.
bool select_isa(const std::string& name);

}  // namespace phigguf
