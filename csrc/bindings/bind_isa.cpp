#include <pybind11/stl.h>

#include <exception>
#include <utility>

#include "base/thread_pool.h"
#include "bindings/bindings.h"
#include "bindings/errors.h"
#include "dispatch/dispatch.h"

namespace py = pybind11;

namespace phigguf {
namespace {

std::string refusal() {
  std::string choices;
  for (const std::string& isa : available_isas()) choices += (choices.empty() ? "" : ", ") + isa;
  return "not an instruction set of this CPU and build, which has " + choices;
}

void set_isa(const std::string& name) {
  if (!select_isa(name)) raise_error("InvalidArgument", refusal(), "isa", py::str(name));
}

void translate_unknown_isa(std::exception_ptr thrown) {
  try {
    std::rethrow_exception(std::move(thrown));
  } catch (const UnknownIsa& unknown) {
    set_error("InvalidArgument", refusal(), "PHIGGUF_ISA", py::str(unknown.what()));
  }
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
  py::register_local_exception_translator(&translate_unknown_isa);
}

}  // namespace phigguf
