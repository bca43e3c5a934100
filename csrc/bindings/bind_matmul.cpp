#include <pybind11/stl.h>

#include <optional>

#include "bindings/array_args.h"
#include "bindings/bindings.h"
#include "ops/float_ops.h"
#include "ops/grouped_matmul.h"
#include "ops/matmul.h"

namespace py = pybind11;

namespace phigguf {
namespace {

// Rows of a tensor type that hold `cols` weights each, aligned as the type's numbers want to be.
const uint8_t* checked_weights(const py::array& weights, Type type, size_t cols, int rank = 2) {
  const uint8_t* bytes = input<uint8_t>(weights, rank, "w");
  check_extent(weights, rank - 1, checked_row_bytes(type, cols), "w");
  const size_t alignment = is_float_type(type) ? static_cast<size_t>(info(type).block_bytes) : 1;
  if (reinterpret_cast<uintptr_t>(bytes) % alignment == 0) return bytes;
  throw py::type_error("w must be aligned to " + std::to_string(alignment) + " bytes");
}

// The width of the rows that are multiplied.
size_t input_width(const py::array& x, bool gated) {
  const size_t width = extent(x, 1);
  if (!gated) return width;
  if (width % 2 == 0) return width / 2;
  raise_error("ShapeError", "axis 1 must hold a gate and as many more", "x", py::str(describe(x)));
}

// A task with its operands; weights may have axes before the last two.
MatmulTask checked_task(const py::array& x, const py::array& weights, const std::string& type, int rank = 2,
                        bool gated = false) {
  MatmulTask task{};
  task.type = type_from_name(type);
  task.x = input<float>(x, 2, "x");
  task.m = extent(x, 0);
  task.gated = gated;
  task.k = input_width(x, gated);
  task.weights = checked_weights(weights, task.type, task.k, rank);
  task.n = extent(weights, rank - 2);
  return task;
}

py::array_t<float> matmul_array(const py::array& x, const py::array& weights, const std::string& type, int threads) {
  MatmulTask task = checked_task(x, weights, type);
  task.threads = threads;
  py::array_t<float> out({task.m, task.n});
  task.out = out.mutable_data();
  without_gil([&] { matmul(task); });
  return out;
}

py::array_t<float> linear_array(const py::array& x, const py::array& weights, const std::string& type,
                                const std::optional<py::array>& norm, float epsilon, bool gated,
                                const std::optional<py::array>& add_to) {
  MatmulTask task = checked_task(x, weights, type, 2, gated);
  if (norm) {
    if (gated) throw py::type_error("x is either normalized or gated");
    task.norm = input<float>(*norm, 1, "norm");
    check_extent(*norm, 0, task.k, "norm");
    task.epsilon = epsilon;
  }
  if (add_to && add_to->is(x)) throw py::type_error("add_to must not be x");
  py::array out = add_to ? *add_to : py::array_t<float>({task.m, task.n});
  task.accumulate = add_to.has_value();
  task.out = output<float>(out, 2, "add_to");
  check_extent(out, 0, task.m, "add_to");
  check_extent(out, 1, task.n, "add_to");
  without_gil([&] { matmul(task); });
  return out;
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
  MatmulTask task = checked_task(x, weights, type, 3);
  task.threads = threads;
  const size_t groups = extent(weights, 0);
  const int32_t* rows = checked_counts(counts, groups, task.m);
  py::array_t<float> out({task.m, task.n});
  task.out = out.mutable_data();
  without_gil([&] { grouped_matmul(task, rows, groups); });
  return out;
}

py::array_t<float> read_row_array(const py::array& weights, const std::string& type_name, size_t cols,
                                  const py::array& ids) {
  const Type type = type_from_name(type_name);
  const uint8_t* bytes = checked_weights(weights, type, cols);
  const int32_t* rows = input<int32_t>(ids, 1, "ids");
  const size_t n = extent(ids, 0);
  for (size_t i = 0; i < n; ++i) {
    if (rows[i] >= 0 && static_cast<size_t>(rows[i]) < extent(weights, 0)) continue;
    raise_error("InvalidArgument", "there are " + std::to_string(extent(weights, 0)) + " rows",
                "ids[" + std::to_string(i) + "]", py::int_(rows[i]));
  }
  py::array_t<float> out({n, cols});
  float* values = out.mutable_data();
  without_gil([&] { read_rows(bytes, type, cols, rows, n, values); });
  return out;
}

}  // namespace

void bind_matmul(py::module_& module) {
  module.def("matmul", &matmul_array, py::arg("x"), py::arg("w"), py::arg("type"), py::arg("threads") = 0,
             "float32 x[m, k] times the transpose of w[n, row bytes], whose rows are of a tensor type: float32[m, n].");
  module.def(
      "linear", &linear_array, py::arg("x"), py::arg("w"), py::arg("type"), py::kw_only(), py::arg("norm") = py::none(),
      py::arg("epsilon") = 0.0f, py::arg("gated") = false, py::arg("add_to") = py::none(),
      "matmul of w with rms_norm(x, norm, epsilon) where there is a norm, with silu_mul(x) where x is gated,\n"
      "and with x itself otherwise. The product is added to float32 add_to[m, n] in place, if there is one, and\n"
      "returned.");
  module.def("grouped_matmul", &grouped_matmul_array, py::arg("x"), py::arg("w"), py::arg("type"), py::arg("counts"),
             py::arg("threads") = 0,
             "float32 x[m, k], the first counts[0] rows times the transpose of w[0], the next counts[1] times that of\n"
             "w[1], and so on: float32[m, n]. w is [groups, n, row bytes] and int32 counts[groups] sum to m.");
  module.def("read_rows", &read_row_array, py::arg("w"), py::arg("type"), py::arg("cols"), py::arg("ids"),
             "Rows int32 ids[m] of w[n, row bytes] as float32[m, cols].");
}

}  // namespace phigguf
