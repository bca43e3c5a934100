// Which ISA's kernels run.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernel_table.h"

namespace phigguf {

// The kernels in use: the best this CPU runs, or what PHIGGUF_ISA or select_isa chose.
const KernelTable& kernels();

std::vector<std::string> compiled_isas();   // best first
std::vector<std::string> available_isas();  // those of them that this CPU runs

// False, and nothing changes, where `name` is not available.
bool select_isa(const std::string& name);

}  // namespace phigguf
