#include <pybind11/stl.h>

#include <cstdlib>

#include "base/thread_pool.h"
#include "bindings/bindings.h"
#include "bindings/errors.h"
#include "dispatch/dispatch.h"

namespace py = pybind11;

namespace phigguf {
namespace {

void set_isa(const std::string& name) {
  if (select_isa(name)) return;
  std::string choices;
  for (const std::string& isa : available_isas()) choices += (choices.empty() ? "" : ", ") + isa;
  raise_error("InvalidArgument", "not an instruction set of this CPU and build, which has " + choices, "isa",
              py::str(name));
}

void check_and_set_num_threads(int n) {
  if (n < 1) raise_error("InvalidArgument", "must be at least 1", "num_threads", py::int_(n));
  set_num_threads(n);
}

}  // namespace

void bind_isa(py::module_& module) {
  module.def("isa", [] { return std::string(kernels().isa); }, "The instruction set whose kernels run.");
  module.def("compiled_isas", &compiled_isas, "The instruction sets in this build, best first.");
  module.def("available_isas", &available_isas, "Those of them that this CPU runs, best first.");
  module.def("set_isa", &set_isa, py::arg("name"), "Use the kernels of one instruction set from now on.");
  module.def("num_threads", &num_threads, "Threads that native work uses.");
  module.def("set_num_threads", &check_and_set_num_threads, py::arg("n"), "Use n threads from now on.");

  const char* forced = std::getenv("PHIGGUF_ISA");
  if (forced && *forced) set_isa(forced);
}

}  // namespace phigguf
