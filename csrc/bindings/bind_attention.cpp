#include <pybind11/stl.h>

#include <mutex>
#include <optional>
#include <utility>

#include "bindings/array_args.h"
#include "bindings/bindings.h"
#include "ops/kv_cache.h"

namespace py = pybind11;

namespace phigguf {
namespace {

// A cache that refuses to be used by two threads at a time.
class SafeCache {
 public:
  explicit SafeCache(const CacheGeometry& geometry) : cache_(geometry) {}

  template <class Work>
  auto use(const Work& work) {
    const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock()) raise_error("InvalidArgument", "another thread is using it", "cache", py::none());
    return work(cache_);
  }

 private:
  KvCache cache_;
  std::mutex mutex_;
};

size_t checked_size(py::ssize_t value, const char* name) {
  constexpr py::ssize_t kMost = 1 << 20;
  if (value < 1 || value > kMost) {
    raise_error("InvalidArgument", "must be from 1 to " + std::to_string(kMost), name, py::int_(value));
  }
  return static_cast<size_t>(value);
}

std::unique_ptr<SafeCache> make_cache(py::ssize_t layers, py::ssize_t kv_heads, py::ssize_t head_dim,
                                      const std::string& type, size_t window) {
  CacheGeometry geometry{};
  geometry.layers = checked_size(layers, "layers");
  geometry.page.kv_heads = checked_size(kv_heads, "kv_heads");
  geometry.page.head_dim = checked_size(head_dim, "head_dim");
  geometry.page.type = type_from_name(type);
  geometry.window = window;
  checked_row_bytes(geometry.page.type, geometry.page.head_dim);
  return std::make_unique<SafeCache>(geometry);
}

[[noreturn]] void raise_problem(const EncodeStatus& status, size_t layer, size_t position, Type type) {
  const char* problem = status.problem == Problem::kNotFinite
                            ? "a key or value is not a finite number"
                            : "a key or value is too large for the cache's type; use F32";
  raise_error("QuantizationError", problem,
              "layer " + std::to_string(layer) + ", position " + std::to_string(position + status.row),
              py::str(info(type).name));
}

using Tables = std::pair<py::array, py::array>;

Rotation checked_rotation(const Tables& tables, size_t tokens, size_t head_dim) {
  const auto& [cosines, sines] = tables;
  Rotation rotation{};
  rotation.cosines = input<float>(cosines, 2, "cosines");
  rotation.sines = input<float>(sines, 2, "sines");
  rotation.half = extent(cosines, 1);
  check_extent(cosines, 0, tokens, "cosines");
  check_extent(sines, 0, tokens, "sines");
  check_extent(sines, 1, rotation.half, "sines");
  if (2 * rotation.half <= head_dim) return rotation;
  raise_error("ShapeError", "a head of " + std::to_string(head_dim) + " has no such number of pairs", "cosines",
              py::int_(rotation.half));
}

py::array attend(KvCache& cache, size_t layer, py::array& qkv, size_t heads, float scale,
                 const std::optional<Tables>& tables, const std::optional<py::array>& out) {
  const CacheGeometry& geometry = cache.geometry();
  AttendTask task{};
  task.qkv = output<float>(qkv, 2, "qkv");
  task.tokens = extent(qkv, 0);
  task.heads = heads;
  task.scale = scale;
  if (layer >= geometry.layers) {
    raise_error("InvalidArgument", "there are " + std::to_string(geometry.layers) + " layers", "layer",
                py::int_(layer));
  }
  if (heads == 0 || heads % geometry.page.kv_heads != 0) {
    raise_error("ShapeError", "must be a multiple of " + std::to_string(geometry.page.kv_heads) + " key-value heads",
                "heads", py::int_(heads));
  }
  check_extent(qkv, 1, cache.row_width(heads), "qkv");
  if (tables) task.rotation = checked_rotation(*tables, task.tokens, geometry.page.head_dim);
  const size_t width = heads * geometry.page.head_dim;
  py::array target = out ? *out : py::array_t<float>({task.tokens, width});
  task.out = output<float>(target, 2, "out");
  check_extent(target, 0, task.tokens, "out");
  check_extent(target, 1, width, "out");
  const size_t position = cache.length(layer);
  const EncodeStatus status = without_gil([&] { return cache.attend(layer, task); });
  if (status.problem != Problem::kNone) raise_problem(status, layer, position, geometry.page.type);
  return target;
}

}  // namespace

void bind_attention(py::module_& module) {
  py::class_<SafeCache>(
      module, "KvCache", py::metaclass(reinterpret_cast<PyObject*>(&PyType_Type)),
      "Keys and values of one sequence, layer by layer. A query sees the last `window` positions, itself\n"
      "included, or all if that is 0; memory that no later query sees is let go.")
      .def(py::init(&make_cache), py::arg("layers"), py::arg("kv_heads"), py::arg("head_dim"), py::arg("type"),
           py::arg("window") = 0)
      .def("__len__", [](SafeCache& self) { return self.use([](KvCache& cache) { return cache.length(); }); })
      .def_property_readonly(
          "nbytes", [](SafeCache& self) { return self.use([](KvCache& cache) { return cache.bytes(); }); },
          "Bytes of memory in use.")
      .def(
          "truncate", [](SafeCache& self, size_t length) { self.use([=](KvCache& cache) { cache.truncate(length); }); },
          py::arg("length"),
          "Forget positions from length on. All are forgotten where the window before length is gone; what the last\n"
          "call of attend appended can be taken back.")
      .def(
          "attend",
          [](SafeCache& self, size_t layer, py::array& qkv, size_t heads, float scale,
             const std::optional<Tables>& tables, const std::optional<py::array>& out) {
            return self.use([&](KvCache& cache) { return attend(cache, layer, qkv, heads, scale, tables, out); });
          },
          py::arg("layer"), py::arg("qkv"), py::arg("heads"), py::arg("scale"), py::arg("tables") = py::none(),
          py::arg("out") = py::none(),
          "Append the keys and values in float32 qkv[m, (heads + 2 * kv_heads) * head_dim] to a layer and return\n"
          "softmax(scale * q k^T) v for its queries, float32[m, heads * head_dim]. A query sees its own and earlier\n"
          "positions, the last `window` of them if that is not 0. Queries and keys are first rotated in place by\n"
          "tables, two float32[m, half] of cosines and sines: pair i of a head is (i, i + half).\n"
          "The result is written to float32 out[m, heads * head_dim], if there is one.");
}

}  // namespace phigguf
