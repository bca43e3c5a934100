// Hashes what every kernel makes of fixed inputs: `digest [ISA...]`, on those ISAs or on every one that this CPU runs.
//
// One line per kernel, type and input goes to stdout, equal on every machine; the names of the ISAs that ran go to
// stderr. The exit status is 1 where two ISAs disagree, and stderr says about what; 2 where one cannot run here.
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

int run(const std::vector<std::string>& isas) {
  std::vector<std::string> reference, disagreements;
  std::string ran;
  for (const std::string& isa : isas) {
    if (!select_isa(isa)) {
      std::fprintf(stderr, "this CPU does not run %s\n", isa.c_str());
      return 2;
    }
    ran += std::string(" ") + kernels().isa;
    const std::vector<std::string> lines = all_results();
    if (reference.empty()) reference = lines;
    for (size_t i = 0; i < lines.size(); ++i) {
      if (lines[i] != reference[i])
        disagreements.push_back(isa + ": " + lines[i] + ", but " + isas[0] + ": " + reference[i]);
    }
  }
  for (const std::string& line : reference) std::printf("%s\n", line.c_str());
  std::fprintf(stderr, "isas:%s\n", ran.c_str());
  for (const std::string& line : disagreements) std::fprintf(stderr, "%s\n", line.c_str());
  return disagreements.empty() ? 0 : 1;
}

}  // namespace
}  // namespace phigguf::digest

int main(int argc, char** argv) {
  const std::vector<std::string> named(argv + 1, argv + argc);
  return phigguf::digest::run(named.empty() ? phigguf::available_isas() : named);
}
