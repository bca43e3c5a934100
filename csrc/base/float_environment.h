// How the processor computes with floats: a host process may have set other roundings, or denormals to zero.
#pragma once

#include <cfenv>

namespace phigguf {

// Round to nearest with denormals, whatever the host process has set; restored at the end of the scope.
class DefaultFloatEnvironment {
 public:
  DefaultFloatEnvironment() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultFloatEnvironment() { std::fesetenv(&saved_); }
  DefaultFloatEnvironment(const DefaultFloatEnvironment&) = delete;
  DefaultFloatEnvironment& operator=(const DefaultFloatEnvironment&) = delete;

 private:
  std::fenv_t saved_;
};

}  // namespace phigguf
