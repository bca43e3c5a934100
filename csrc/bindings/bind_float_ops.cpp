#include "bindings/array_args.h"
#include "bindings/bindings.h"
#include "ops/float_ops.h"

namespace py = pybind11;

namespace phigguf {
namespace {

py::array_t<float> rms_norm_array(const py::array& x, const py::array& weight, float epsilon) {
  const float* rows = input<float>(x, 2, "x");
  const size_t m = extent(x, 0), cols = extent(x, 1);
  const float* weights = input<float>(weight, 1, "weight");
  check_extent(weight, 0, cols, "weight");
  py::array_t<float> out({m, cols});
  float* values = out.mutable_data();
  without_gil([&] { rms_norm(rows, weights, m, cols, epsilon, values); });
  return out;
}

py::array_t<float> layer_norm_array(const py::array& x, const py::array& weight, const py::array& bias, float epsilon) {
  const float* rows = input<float>(x, 2, "x");
  const size_t m = extent(x, 0), cols = extent(x, 1);
  const float* weights = input<float>(weight, 1, "weight");
  const float* biases = input<float>(bias, 1, "bias");
  check_extent(weight, 0, cols, "weight");
  check_extent(bias, 0, cols, "bias");
  py::array_t<float> out({m, cols});
  float* values = out.mutable_data();
  without_gil([&] { layer_norm(rows, weights, biases, m, cols, epsilon, values); });
  return out;
}

using RowOperation = void (*)(const float* x, size_t rows, size_t cols, float* out);

template <RowOperation kOperation>
py::array_t<float> row_by_row(const py::array& x) {
  const float* rows = input<float>(x, 2, "x");
  const size_t m = extent(x, 0), cols = extent(x, 1);
  py::array_t<float> out({m, cols});
  float* values = out.mutable_data();
  without_gil([&] { kOperation(rows, m, cols, values); });
  return out;
}

py::array_t<float> silu_mul_array(const py::array& gate_up) {
  const float* rows = input<float>(gate_up, 2, "gate_up");
  const size_t m = extent(gate_up, 0), cols = extent(gate_up, 1) / 2;
  check_extent(gate_up, 1, 2 * cols, "gate_up");
  py::array_t<float> out({m, cols});
  float* values = out.mutable_data();
  without_gil([&] { silu_mul(rows, m, cols, values); });
  return out;
}

py::tuple rope_table_arrays(size_t start, size_t count, const py::array& frequencies, float factor) {
  RopeTableTask task{};
  task.start = start;
  task.rows = count;
  task.frequencies = input<float>(frequencies, 1, "frequencies");
  task.half = extent(frequencies, 0);
  task.factor = factor;
  py::array_t<float> cosines({task.rows, task.half}), sines({task.rows, task.half});
  task.cosines = cosines.mutable_data();
  task.sines = sines.mutable_data();
  without_gil([&] { fill_rope_tables(task); });
  return py::make_tuple(cosines, sines);
}

}  // namespace

void bind_float_ops(py::module_& module) {
  module.def("rms_norm", &rms_norm_array, py::arg("x"), py::arg("weight"), py::arg("epsilon"),
             "weight * x / sqrt(mean(x^2) + epsilon) over the rows of float32 x[m, cols].");
  module.def("layer_norm", &layer_norm_array, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("epsilon"),
             "weight * (x - mean) / sqrt(variance + epsilon) + bias over the rows of float32 x[m, cols].");
  module.def("gelu", &row_by_row<gelu>, py::arg("x"),
             "x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 of every element of float32 x[m, cols].");
  module.def("softmax", &row_by_row<softmax>, py::arg("x"),
             "e^(x - max) / sum(e^(x - max)) over the rows of float32 x[m, cols].");
  module.def("silu_mul", &silu_mul_array, py::arg("gate_up"),
             "silu(gate) * up for float32 gate_up[m, 2 * cols], the gate first: float32[m, cols].");
  module.def("rope_tables", &rope_table_arrays, py::arg("start"), py::arg("count"), py::arg("frequencies"),
             py::arg("factor"),
             "factor * (cos, sin) of positions start, start + 1, ... times float32 frequencies[half]: two\n"
             "float32[count, half].");
}

}  // namespace phigguf
