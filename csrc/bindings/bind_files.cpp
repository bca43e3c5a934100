#include "bindings/array_args.h"
#include "bindings/bindings.h"
#include "ops/map_cached.h"

namespace py = pybind11;

namespace phigguf {
namespace {

void map_cached_bytes(const py::array& bytes, int file, uint64_t offset) {
  const auto* first = input<uint8_t>(bytes, 1, "bytes");
  without_gil([&] { map_cached(first, extent(bytes, 0), file, offset); });
}

}  // namespace

void bind_files(py::module_& module) {
  module.def("map_cached", &map_cached_bytes, py::arg("bytes"), py::arg("file"), py::arg("offset"),
             "Map those bytes of a mapped file that memory holds; they lie at an offset of the open file.");
}

}  // namespace phigguf
