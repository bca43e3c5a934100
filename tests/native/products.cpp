// Weights of every type times activations, a token at a time and many together.
#include <algorithm>

#include "dispatch/dispatch.h"
#include "inputs.h"
#include "ops/recode.h"
#include "results.h"

namespace phigguf::digest {
namespace {

struct Weights {
  std::string name;
  Type type;
  size_t rows, cols;
  std::vector<uint8_t> bytes;
};

// As MatmulJob wants them for float weights.
std::vector<float> in_cache_lines(const float* x, size_t tokens, size_t cols) {
  std::vector<float> lines(tokens * x_stride(cols));
  for (size_t t = 0; t < tokens; ++t) std::copy_n(x + t * cols, cols, &lines[t * x_stride(cols)]);
  return lines;
}

std::vector<float> multiply(const Weights& w, const float* x, size_t tokens) {
  std::vector<float> out(tokens * w.rows);
  const auto width = static_cast<size_t>(info(w.type).block_width);
  const size_t blocks = tokens * (w.cols / width) + kReadPastBlocks;
  std::vector<int8_t> codes(blocks * width);
  std::vector<int32_t> corrections(blocks * width / kCorrectionWidth);
  std::vector<float> scales(blocks);
  const Activations activations{codes.data(), corrections.data(), scales.data(), tokens};
  const int type = static_cast<int>(w.type);
  if (!is_float_type(w.type)) {
    for (size_t t = 0; t < tokens; ++t) {
      kernels().quantize_activations[type](x + t * w.cols, w.cols, t, activations);
    }
  }
  const std::vector<float> lines = in_cache_lines(x, tokens, w.cols);
  kernels().matmul[type](
      {w.bytes.data(), w.rows, w.cols, tokens, lines.data(), activations, out.data(), w.rows, false});
  return out;
}

void add_product(Results& results, const Weights& w, const Distribution& input, size_t tokens) {
  const std::string name =
      std::string("matmul ") + info(w.type).name + " " + w.name + " and " + input.name + " activations";
  const std::vector<float> x = weights(input, tokens * w.cols);
  results.add(name + ", together", hash_floats(multiply(w, x.data(), tokens)));
  Hash singly;
  for (size_t t = 0; t < tokens; ++t) singly.add_floats(multiply(w, x.data() + t * w.cols, 1));
  results.add(name + ", singly", singly.value());
}

Weights encoded(Type type, size_t rows, size_t cols) {
  const std::vector<float> x = weights(distribution("heavy_tailed"), rows * cols);
  Weights w{"weights", type, rows, cols, std::vector<uint8_t>(rows * info(type).row_bytes(cols))};
  RecodeJob job{};
  job.source = reinterpret_cast<const uint8_t*>(x.data());
  job.source_type = Type::F32;
  job.target = w.bytes.data();
  job.target_type = type;
  job.rows = rows;
  job.cols = cols;
  recode({job}, {});
  return w;
}

// Every byte a block can hold; and only those at the ends of its signed and unsigned range, where sums saturate.
Weights random_bytes(Type type, size_t rows, size_t cols) {
  return {"random bytes", type, rows, cols, bytes(rows * info(type).row_bytes(cols))};
}
Weights extreme_bytes(Type type, size_t rows, size_t cols) {
  Weights w{"extreme bytes", type, rows, cols, bytes(rows * info(type).row_bytes(cols))};
  constexpr uint8_t kExtremes[] = {0x00, 0x7f, 0x80, 0xff};
  for (uint8_t& byte : w.bytes) byte = kExtremes[byte % 4];
  return w;
}

}  // namespace

void add_products(Results& results) {
  for (const Type type : all_types()) {
    const auto block = static_cast<size_t>(info(type).block_width);
    const size_t odd_cols = is_float_type(type) ? 77 : 5 * block;
    add_product(results, encoded(type, 19, 512), distribution("normal"), 70);
    add_product(results, random_bytes(type, 13, odd_cols), distribution("heavy_tailed"), 23);
    add_product(results, random_bytes(type, 13, odd_cols), distribution("not_finite"), 17);
    add_product(results, random_bytes(type, 3, odd_cols), distribution("denormal"), 3);
    add_product(results, extreme_bytes(type, 61, block), distribution("largest"), 21);
    add_product(results, extreme_bytes(type, 61, block), distribution("signs"), 21);
  }
}

}  // namespace phigguf::digest
