#include "bindings/bindings.h"

PYBIND11_MODULE(_core, module) {
  module.doc() = "phigguf's native kernels: strict about their arguments, silent, and without the GIL while they run.";
  phigguf::install_interrupt_check();
  phigguf::bind_types(module);
  phigguf::bind_isa(module);
  phigguf::bind_files(module);
  phigguf::bind_recode(module);
  phigguf::bind_matmul(module);
  phigguf::bind_float_ops(module);
  phigguf::bind_attention(module);
}
