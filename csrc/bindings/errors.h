// Raising the classes of phigguf/errors.py from native code.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

namespace phigguf {

// Sets Python's error to phigguf.errors.<name>(problem, field=field, value=value, file=file), for an exception
// translator.
void set_error(const char* name, const std::string& problem, const std::string& field, const pybind11::object& value,
               const pybind11::object& file = pybind11::none());

// Raises phigguf.errors.<name>(problem, field=field, value=value, file=file).
[[noreturn]] void raise_error(const char* name, const std::string& problem, const std::string& field,
                              const pybind11::object& value, const pybind11::object& file = pybind11::none());

// Runs native work with the GIL released and floats as they are by default; Ctrl-C stops it and raises
// KeyboardInterrupt.
template <class Work>
auto without_gil(const Work& work);

}  // namespace phigguf

#include "base/float_environment.h"
#include "base/thread_pool.h"

template <class Work>
auto phigguf::without_gil(const Work& work) {
  try {
    const pybind11::gil_scoped_release release;
    const DefaultFloatEnvironment environment;
    return work();
  } catch (const Interrupted&) {
    throw pybind11::error_already_set();  // set by the check that interrupted the work
  }
}
