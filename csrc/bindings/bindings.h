// One function per topic, each in its bind_*.cpp.
#pragma once

#include <pybind11/pybind11.h>

namespace phigguf {

void install_interrupt_check();

void bind_types(pybind11::module_& module);
void bind_isa(pybind11::module_& module);
void bind_files(pybind11::module_& module);
void bind_recode(pybind11::module_& module);
void bind_matmul(pybind11::module_& module);
void bind_float_ops(pybind11::module_& module);
void bind_attention(pybind11::module_& module);

}  // namespace phigguf
