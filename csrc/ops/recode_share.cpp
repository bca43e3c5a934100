#include "ops/recode_share.h"

#include "base/file_access.h"
#include "base/scratch.h"
#include "dispatch/dispatch.h"

namespace phigguf {
namespace {

class Share {
 public:
  Share(const RecodeJob& job, size_t first, size_t rows)
      : job_(job),
        rows_(rows),
        source_bytes_(info(job.source_type).row_bytes(job.cols)),
        target_bytes_(info(job.target_type).row_bytes(job.cols)),
        source_(job.source + first * source_bytes_),
        floats_(source_),
        float_type_(job.source_type),
        target_(job.target ? job.target + first * target_bytes_ : encoded().reserve(rows * target_bytes_)) {}

  EncodeStatus encode() {
    if (!is_float_type(job_.source_type)) decode_source();
    const EncodeJob job{floats_, float_type_, rows_, job_.cols, job_.importance, target_};
    return kernels().encode[static_cast<int>(job_.target_type)](job);
  }

  double squared_error() const {
    const SquaredError error_of_row = kernels().squared_error[static_cast<int>(job_.target_type)];
    const size_t float_bytes = info(float_type_).row_bytes(job_.cols);
    double sum = 0.0;
    for (size_t row = 0; row < rows_; ++row) {
      sum += error_of_row(floats_ + row * float_bytes, float_type_, target_ + row * target_bytes_, job_.cols);
    }
    return sum;
  }

  int store(int file, uint64_t offset) const {
    if (job_.keep_source) return write_at(file, source_, rows_ * source_bytes_, offset);
    return write_at(file, target_, rows_ * target_bytes_, offset);
  }

  uint64_t stored_row_bytes() const { return job_.keep_source ? source_bytes_ : target_bytes_; }

 private:
  static Scratch<uint8_t>& encoded() {
    static thread_local Scratch<uint8_t> bytes;
    return bytes;
  }

  // To scratch, or to the target itself, which is then only checked.
  void decode_source() {
    static thread_local Scratch<float> scratch;
    const size_t n = rows_ * job_.cols;
    float* floats = job_.target_type == Type::F32 ? reinterpret_cast<float*>(target_) : scratch.reserve(n);
    const size_t blocks = n / static_cast<size_t>(info(job_.source_type).block_width);
    kernels().decode[static_cast<int>(job_.source_type)](source_, blocks, floats);
    floats_ = reinterpret_cast<const uint8_t*>(floats);
    float_type_ = Type::F32;
  }

  const RecodeJob& job_;
  size_t rows_, source_bytes_, target_bytes_;
  const uint8_t* source_;
  const uint8_t* floats_;  // the source, or what it decodes to
  Type float_type_;
  uint8_t* target_;
};

}  // namespace

ShareResult recode_share(const RecodeJob& job, size_t first, size_t rows, int file) {
  Share share(job, first, rows);
  ShareResult result{share.encode(), 0, 0.0};
  if (result.status.problem != Problem::kNone) {
    result.status.row += first;
    return result;
  }
  if (job.measure_error) result.squared_error = share.squared_error();
  if (!job.target) result.file_error = share.store(file, job.offset + first * share.stored_row_bytes());
  return result;
}

}  // namespace phigguf
