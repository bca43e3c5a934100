#include "ops/recode_share.h"

#include <memory>

#include "base/file_access.h"
#include "dispatch/dispatch.h"

namespace phigguf {
namespace {

// Memory that a thread keeps for its next share: fresh pages for every share would cost more than writing it.
template <class Element>
class Scratch {
 public:
  Element* reserve(size_t size) {
    if (size > size_) memory_.reset(new Element[size_ = size]);
    return memory_.get();
  }

 private:
  std::unique_ptr<Element[]> memory_;
  size_t size_ = 0;
};

class Share {
 public:
  Share(const RecodeJob& job, size_t first, size_t rows)
      : job_(job),
        rows_(rows),
        source_bytes_(info(job.source_type).row_bytes(job.cols)),
        target_bytes_(info(job.target_type).row_bytes(job.cols)),
        source_(job.source + first * source_bytes_),
        target_(job.target ? job.target + first * target_bytes_ : encoded().reserve(rows * target_bytes_)) {}

  EncodeStatus encode() const {
    const EncodeRows encode_rows = kernels().encode[static_cast<int>(job_.target_type)];
    EncodeJob encode_job{source_, job_.source_type, rows_, job_.cols, job_.importance, target_};
    if (!is_float_type(job_.source_type)) {
      float* floats = float_rows();
      decode(job_.source_type, source_, rows_, floats);
      encode_job.source = floats;
      encode_job.source_type = Type::F32;
    }
    return encode_rows(encode_job);
  }

  double squared_error() const {
    static thread_local Scratch<float> floats;
    float* before = floats.reserve(2 * job_.cols);
    float* after = before + job_.cols;
    double sum = 0.0;
    for (size_t row = 0; row < rows_; ++row) {
      decode(job_.source_type, source_ + row * source_bytes_, 1, before);
      decode(job_.target_type, target_ + row * target_bytes_, 1, after);
      sum += kernels().squared_error(before, after, job_.cols);
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

  void decode(Type type, const uint8_t* bytes, size_t rows, float* out) const {
    const size_t blocks = rows * (job_.cols / static_cast<size_t>(info(type).block_width));
    kernels().decode[static_cast<int>(type)](bytes, blocks, out);
  }

  // Where blocks are decoded to: scratch, or the target itself, which is then only checked.
  float* float_rows() const {
    static thread_local Scratch<float> floats;
    if (job_.target_type == Type::F32) return reinterpret_cast<float*>(target_);
    return floats.reserve(rows_ * job_.cols);
  }

  const RecodeJob& job_;
  size_t rows_, source_bytes_, target_bytes_;
  const uint8_t* source_;
  uint8_t* target_;
};

}  // namespace

ShareResult recode_share(const RecodeJob& job, size_t first, size_t rows, int file) {
  const Share share(job, first, rows);
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
