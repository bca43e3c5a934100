#include "bindings/errors.h"

#include "bindings/bindings.h"

namespace py = pybind11;

namespace phigguf {

void set_error(const char* name, const std::string& problem, const std::string& field, const py::object& value,
               const py::object& file) {
  const py::object error_class = py::module_::import("phigguf.errors").attr(name);
  const py::object error =
      error_class(problem, py::arg("file") = file, py::arg("field") = field, py::arg("value") = value);
  PyErr_SetObject(error_class.ptr(), error.ptr());
}

void raise_error(const char* name, const std::string& problem, const std::string& field, const py::object& value,
                 const py::object& file) {
  set_error(name, problem, field, value, file);
  throw py::error_already_set();
}

void install_interrupt_check() {
  set_interrupt_check([] {
    const py::gil_scoped_acquire acquire;
    return PyErr_CheckSignals() != 0;
  });
}

}  // namespace phigguf
