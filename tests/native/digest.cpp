// Hashes what every kernel makes of fixed inputs, on every ISA that this CPU runs.
//
// One line per kernel, type and input goes to stdout, equal on every machine; the names of the ISAs that ran go to
// stderr. The exit status is 1 where two ISAs disagree, and stderr says about what.
#include <cstdio>

#include "dispatch/dispatch.h"
#include "results.h"

namespace phigguf::digest {
namespace {

std::vector<std::string> all_results() {
  Results results;
  add_operations(results);
  add_conversions(results);
  add_products(results);
  add_float_operations(results);
  return results.lines();
}

int run() {
  std::vector<std::string> reference, disagreements;
  std::string ran;
  for (const std::string& isa : available_isas()) {
    select_isa(isa);
    ran += std::string(" ") + kernels().isa;
    const std::vector<std::string> lines = all_results();
    if (reference.empty()) reference = lines;
    for (size_t i = 0; i < lines.size(); ++i) {
      if (lines[i] != reference[i]) disagreements.push_back(isa + ": " + lines[i] + ", not " + reference[i]);
    }
  }
  for (const std::string& line : reference) std::printf("%s\n", line.c_str());
  std::fprintf(stderr, "isas:%s\n", ran.c_str());
  for (const std::string& line : disagreements) std::fprintf(stderr, "%s\n", line.c_str());
  return disagreements.empty() ? 0 : 1;
}

}  // namespace
}  // namespace phigguf::digest

int main() { return phigguf::digest::run(); }
