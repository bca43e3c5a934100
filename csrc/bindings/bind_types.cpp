#include <pybind11/stl.h>

#include "bindings/bindings.h"
#include "formats/format_list.h"

namespace py = pybind11;

namespace phigguf {

void bind_types(py::module_& module) {
  module.def(
      "tensor_types",
      [] {
        py::list types;
        for (const TypeInfo& type : kTypes) {
          py::dict entry;
          entry["name"] = type.name;
          entry["id"] = type.ggml_id;
          entry["block_width"] = type.block_width;
          entry["block_bytes"] = type.block_bytes;
          types.append(entry);
        }
        return types;
      },
      "The tensor types with native kernels: name, ggml's id, weights and bytes per block.");
}

}  // namespace phigguf
