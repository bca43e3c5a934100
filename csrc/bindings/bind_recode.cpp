#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include <cmath>

#include "bindings/array_args.h"
#include "bindings/bindings.h"
#include "ops/recode.h"

namespace py = pybind11;

namespace phigguf {
namespace {

// A matrix on its way into a file, with what keeps it alive and what to call it in a message.
struct Recoding {
  RecodeJob job{};
  py::array source;
  py::object importance;
  std::string file, name;
};

[[noreturn]] void raise_problem(const RecodeJob& job, const RecodeResult& result, const std::string& name,
                                const py::object& file) {
  const std::string row = name + "row " + std::to_string(result.row);
  const std::string where = row + ", column " + std::to_string(result.col);
  if (result.problem == Problem::kNotFinite) {
    const char* problem = is_float_type(job.source_type) ? "only finite values can be quantized"
                                                         : "a block decodes to a value that is not finite";
    raise_error("QuantizationError", problem, where, py::float_(result.value), file);
  }
  const std::string type = info(job.target_type).name;
  if (is_float_type(job.target_type)) {
    raise_error("QuantizationError", "the value is past the range of " + type, where, py::float_(result.value), file);
  }
  raise_error("QuantizationError", "a block's scale is past float16, which " + type + " keeps it in", row, py::none(),
              file);
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

RecodeJob checked_job(const py::array& source, const std::string& source_type, const std::string& target_type,
                      size_t cols, const py::object& importance) {
  RecodeJob job{};
  job.source_type = type_from_name(source_type);
  job.target_type = type_from_name(target_type);
  job.source = input<uint8_t>(source, 2, "source");
  job.rows = extent(source, 0);
  job.cols = cols;
  check_extent(source, 1, checked_row_bytes(job.source_type, cols), "source");
  checked_row_bytes(job.target_type, cols);
  if (!importance.is_none()) job.importance = checked_importance(py::cast<py::array>(importance), cols);
  return job;
}

double recode_rows(const py::array& source, const std::string& source_type, py::array& target,
                   const std::string& target_type, size_t cols, const py::object& importance, int threads,
                   bool measure_error) {
  RecodeJob job = checked_job(source, source_type, target_type, cols, importance);
  job.target = output<uint8_t>(target, 2, "target");
  job.measure_error = measure_error;
  check_extent(target, 0, job.rows, "target");
  check_extent(target, 1, info(job.target_type).row_bytes(cols), "target");
  RecodeOptions options;
  options.threads = threads;

  const RecodeResult result = without_gil([&] { return recode({job}, options); });
  if (result.problem != Problem::kNone) raise_problem(job, result, "", py::none());
  return result.squared_errors[0];
}

Recoding make_recoding(const py::array& source, const std::string& source_type, const std::string& target_type,
                       size_t cols, uint64_t offset, const py::object& importance, bool keep_source,
                       const std::string& file, const std::string& name) {
  Recoding recoding{checked_job(source, source_type, target_type, cols, importance), source, importance, file, name};
  recoding.job.offset = offset;
  recoding.job.keep_source = keep_source;
  recoding.job.measure_error = !keep_source;
  return recoding;
}

// Calls back with the GIL; an exception stops the work and is raised at its end.
std::function<bool(size_t)> reporting_to(const py::function& progress) {
  return [&progress](size_t weights) {
    const py::gil_scoped_acquire acquire;
    try {
      progress(weights);
      return false;
    } catch (py::error_already_set& error) {
      error.restore();
      return true;
    }
  };
}

std::vector<double> recode_to_file(const std::vector<const Recoding*>& recodings, int file, int threads,
                                   const py::function& progress) {
  std::vector<RecodeJob> jobs;
  for (const Recoding* recoding : recodings) jobs.push_back(recoding->job);
  const RecodeOptions options{threads, file, reporting_to(progress)};
  RecodeResult result = without_gil([&] { return recode(jobs, options); });
  if (result.problem != Problem::kNone) {
    const Recoding& failed = *recodings[result.job];
    raise_problem(failed.job, result, failed.name + ", ", py::str(failed.file));
  }
  if (result.file_error != 0) {
    errno = result.file_error;
    PyErr_SetFromErrno(PyExc_OSError);
    throw py::error_already_set();
  }
  return std::move(result.squared_errors);
}

}  // namespace

void bind_recode(py::module_& module) {
  module.def("recode", &recode_rows, py::arg("source"), py::arg("source_type"), py::arg("target"),
             py::arg("target_type"), py::arg("cols"), py::arg("imatrix") = py::none(), py::arg("threads") = 0,
             py::arg("measure_error") = false,
             "Write rows of one tensor type as rows of another; return the sum of squared errors if asked.");
  py::class_<Recoding>(module, "Recoding", "A matrix and its place and type in a file to be written.")
      .def(py::init(&make_recoding), py::arg("source"), py::arg("source_type"), py::arg("target_type"), py::arg("cols"),
           py::arg("offset"), py::arg("imatrix") = py::none(), py::arg("keep_source") = false, py::arg("file") = "",
           py::arg("name") = "");
  module.def("recode_to_file", &recode_to_file, py::arg("recodings"), py::arg("file"), py::arg("threads"),
             py::arg("progress"),
             "Write matrices to an open file, and tell now and then how many weights were done; return each one's sum "
             "of squared errors.");
}

}  // namespace phigguf
