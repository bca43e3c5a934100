#include <pybind11/stl.h>

#include <optional>
#include <utility>

#include "bindings/array_args.h"
#include "bindings/bindings.h"
#include "ops/feed_forward.h"
#include "ops/float_ops.h"
#include "ops/grouped_matmul.h"
#include "ops/matmul.h"

namespace py = pybind11;

namespace phigguf {
namespace {

// Rows of a tensor type that hold `cols` weights each, aligned as the type's numbers want to be.
const uint8_t* checked_weights(const py::array& weights, Type type, size_t cols, int rank) {
  const uint8_t* bytes = input<uint8_t>(weights, rank, "w");
  check_extent(weights, rank - 1, checked_row_bytes(type, cols), "w");
  const size_t alignment = is_float_type(type) ? static_cast<size_t>(info(type).block_bytes) : 1;
  if (reinterpret_cast<uintptr_t>(bytes) % alignment == 0) return bytes;
  throw py::type_error("w must be aligned to " + std::to_string(alignment) + " bytes");
}

// A task without activations; weights may have axes before the last two.
MatmulTask task_with(const py::array& weights, const std::string& type, size_t cols, int rank = 2) {
  MatmulTask task{};
  task.type = type_from_name(type);
  task.weights = checked_weights(weights, task.type, cols, rank);
  task.n = extent(weights, rank - 2);
  task.k = cols;
  return task;
}

size_t width_of(const py::array& x) {
  check_array<float>(x, 2, "x");
  return extent(x, 1);
}

void take_activations(MatmulTask& task, const py::array& x) {
  task.x = input<float>(x, 2, "x");
  task.m = extent(x, 0);
  check_extent(x, 1, task.k, "x");
}

void take_norm(MatmulTask& task, const py::array& norm, float epsilon) {
  task.norm = input<float>(norm, 1, "norm");
  check_extent(norm, 0, task.k, "norm");
  task.epsilon = epsilon;
}

template <class Multiply>
py::array_t<float> product(MatmulTask& task, const Multiply& multiply) {
  py::array_t<float> out({task.m, task.n});
  task.out = out.mutable_data();
  without_gil([&] { multiply(task); });
  return out;
}

// A matrix that is used where it lies, checked once: a product only looks at what it multiplies.
class Weight {
 public:
  Weight(py::array w, const std::string& type, size_t cols) : task_(task_with(w, type, cols)), data_(std::move(w)) {}

  size_t size() const { return task_.n; }
  const py::array& data() const { return data_; }
  const MatmulTask& task() const { return task_; }

  py::array linear(const py::array& x, const std::optional<py::array>& norm, float epsilon,
                   const std::optional<py::array>& add_to, const std::optional<py::array>& out) const {
    MatmulTask task = task_;
    take_activations(task, x);
    if (norm) take_norm(task, *norm, epsilon);
    if (!add_to && !out) return product(task, matmul);
    if (add_to && out) throw py::type_error("add_to and out exclude each other");
    const char* name = add_to ? "add_to" : "out";
    py::array target = add_to ? *add_to : *out;
    if (target.is(x)) throw py::type_error(std::string(name) + " must not be x");
    task.accumulate = add_to.has_value();
    task.out = output<float>(target, 2, name);
    check_extent(target, 0, task.m, name);
    check_extent(target, 1, task.n, name);
    without_gil([&] { matmul(task); });
    return target;
  }

  py::array_t<float> rows(const py::array& ids) const {
    const int32_t* numbers = input<int32_t>(ids, 1, "ids");
    const size_t n = extent(ids, 0);
    for (size_t i = 0; i < n; ++i) {
      if (numbers[i] >= 0 && static_cast<size_t>(numbers[i]) < size()) continue;
      raise_error("InvalidArgument", "there are " + std::to_string(size()) + " rows", "ids[" + std::to_string(i) + "]",
                  py::int_(numbers[i]));
    }
    py::array_t<float> out({n, task_.k});
    float* values = out.mutable_data();
    without_gil([&] { read_rows(task_.weights, task_.type, task_.k, numbers, n, values); });
    return out;
  }

 private:
  MatmulTask task_;
  py::array data_;
};

void add_swiglu_array(py::array& x, const py::array& norm, float epsilon, const Weight& gate_up, const Weight& down) {
  MatmulTask first = gate_up.task();
  float* rows = output<float>(x, 2, "x");
  check_extent(x, 1, first.k, "x");
  check_extent(x, 1, down.task().n, "x");
  check_extent(gate_up.data(), 0, 2 * down.task().k, "gate_up");
  take_norm(first, norm, epsilon);
  without_gil([&] { add_swiglu(rows, extent(x, 0), first, down.task()); });
}

py::array_t<float> matmul_array(const py::array& x, const py::array& weights, const std::string& type, int threads) {
  MatmulTask task = task_with(weights, type, width_of(x));
  take_activations(task, x);
  task.threads = threads;
  return product(task, matmul);
}

// Counts of rows in each group, which are `rows` in all.
const int32_t* checked_counts(const py::array& counts, size_t groups, size_t rows) {
  const int32_t* values = input<int32_t>(counts, 1, "counts");
  check_extent(counts, 0, groups, "counts");
  size_t left = rows;
  for (size_t i = 0; i < groups; ++i) {
    if (values[i] < 0 || static_cast<size_t>(values[i]) > left) {
      raise_error("InvalidArgument", "must be from 0 to the " + std::to_string(left) + " rows left",
                  "counts[" + std::to_string(i) + "]", py::int_(values[i]));
    }
    left -= static_cast<size_t>(values[i]);
  }
  if (left != 0) raise_error("InvalidArgument", "leave rows over", "counts", py::int_(left));
  return values;
}

py::array_t<float> grouped_matmul_array(const py::array& x, const py::array& weights, const std::string& type,
                                        const py::array& counts, int threads) {
  MatmulTask task = task_with(weights, type, width_of(x), 3);
  take_activations(task, x);
  task.threads = threads;
  const size_t groups = extent(weights, 0);
  const int32_t* rows = checked_counts(counts, groups, task.m);
  return product(task, [=](const MatmulTask& all) { grouped_matmul(all, rows, groups); });
}

}  // namespace

void bind_matmul(py::module_& module) {
  py::class_<Weight>(module, "Weight",
                     "Rows w[n, row bytes] of a tensor type, `cols` weights each, used where they lie.")
      .def(py::init<py::array, const std::string&, size_t>(), py::arg("w"), py::arg("type"), py::arg("cols"))
      .def("__len__", &Weight::size)
      .def_property_readonly("data", &Weight::data, "w itself.")
      .def("linear", &Weight::linear, py::arg("x"), py::kw_only(), py::arg("norm") = py::none(),
           py::arg("epsilon") = 0.0f, py::arg("add_to") = py::none(), py::arg("out") = py::none(),
           "float32 x[m, cols] times the transpose: float32[m, n]. Multiplies rms_norm(x, norm, epsilon) where there\n"
           "is a norm. The product is added to float32 add_to[m, n] in place, or written to float32 out[m, n],\n"
           "if there is one, and returned.")
      .def("rows", &Weight::rows, py::arg("ids"), "Rows int32 ids[m] as float32[m, cols].");
  module.def(
      "add_swiglu", &add_swiglu_array, py::arg("x"), py::arg("norm"), py::arg("epsilon"), py::arg("gate_up"),
      py::arg("down"),
      "Add down.linear(silu_mul(gate_up.linear(x, norm=norm, epsilon=epsilon))) to float32 x[m, hidden] in place.");
  module.def("matmul", &matmul_array, py::arg("x"), py::arg("w"), py::arg("type"), py::arg("threads") = 0,
             "float32 x[m, k] times the transpose of w[n, row bytes], whose rows are of a tensor type: float32[m, n].");
  module.def("grouped_matmul", &grouped_matmul_array, py::arg("x"), py::arg("w"), py::arg("type"), py::arg("counts"),
             py::arg("threads") = 0,
             "float32 x[m, k], the first counts[0] rows times the transpose of w[0], the next counts[1] times that of\n"
             "w[1], and so on: float32[m, n]. w is [groups, n, row bytes] and int32 counts[groups] sum to m.");
}

}  // namespace phigguf
