#include <cmath>

#include "bindings/array_args.h"
#include "bindings/bindings.h"
#include "ops/recode.h"

namespace py = pybind11;

namespace phigguf {
namespace {

[[noreturn]] void raise_problem(const RecodeJob& job, const RecodeResult& result) {
  const std::string row = "row " + std::to_string(result.row);
  const std::string where = row + ", column " + std::to_string(result.col);
  if (result.problem == Problem::kNotFinite) {
    const char* problem = is_float_type(job.source_type) ? "only finite values can be quantized"
                                                         : "a block decodes to a value that is not finite";
    raise_error("QuantizationError", problem, where, py::float_(result.value));
  }
  const std::string type = info(job.target_type).name;
  if (is_float_type(job.target_type)) {
    raise_error("QuantizationError", "the value is past the range of " + type, where, py::float_(result.value));
  }
  raise_error("QuantizationError", "a block's scale is past float16, which " + type + " keeps it in", row, py::none());
}

const float* checked_importance(const py::array& weights, size_t cols) {
  const float* importance = input<float>(weights, 1, "imatrix");
  check_extent(weights, 0, cols, "imatrix");
  for (size_t i = 0; i < cols; ++i) {
    if (importance[i] >= 0.0f && std::isfinite(importance[i])) continue;
    raise_error("QuantizationError", "an importance must be finite and not negative",
                "imatrix, column " + std::to_string(i), py::float_(importance[i]));
  }
  return importance;
}

double recode_rows(const py::array& source, const std::string& source_type, py::array& target,
                   const std::string& target_type, size_t cols, const py::object& importance, int threads,
                   bool measure_error) {
  RecodeJob job{};
  job.source_type = type_from_name(source_type);
  job.target_type = type_from_name(target_type);
  job.source = input<uint8_t>(source, 2, "source");
  job.target = output<uint8_t>(target, 2, "target");
  job.rows = extent(source, 0);
  job.cols = cols;
  check_extent(source, 1, checked_row_bytes(job.source_type, cols), "source");
  check_extent(target, 0, job.rows, "target");
  check_extent(target, 1, checked_row_bytes(job.target_type, cols), "target");
  if (!importance.is_none()) {
    job.importance = checked_importance(py::cast<py::array>(importance), cols);
  }
  job.threads = threads;
  job.measure_error = measure_error;

  const RecodeResult result = without_gil([&] { return recode(job); });
  if (result.problem != Problem::kNone) raise_problem(job, result);
  return result.squared_error;
}

}  // namespace

void bind_recode(py::module_& module) {
  module.def("recode", &recode_rows, py::arg("source"), py::arg("source_type"), py::arg("target"),
             py::arg("target_type"), py::arg("cols"), py::arg("imatrix") = py::none(), py::arg("threads") = 0,
             py::arg("measure_error") = false,
             "Write rows of one tensor type as rows of another; return the sum of squared errors if asked.");
}

}  // namespace phigguf
