// What lies between the matrix products: norms, gates, rotations and attention over a cache.
#include "dispatch/dispatch.h"
#include "inputs.h"
#include "ops/recode.h"
#include "results.h"

namespace phigguf::digest {
namespace {

void add_row_operations(Results& results, const Distribution& input, size_t size) {
  const std::string name = std::string(input.name) + " " + std::to_string(size);
  const std::vector<float> a = weights(input, 2 * size), b = weights(distribution("normal"), 2 * size);
  std::vector<float> out(size);

  kernels().rms_norm(a.data(), b.data(), size, 1e-5f, out.data());
  results.add("rms_norm " + name, hash_floats(out));
  kernels().layer_norm(a.data(), b.data(), b.data() + size, size, 1e-5f, out.data());
  results.add("layer_norm " + name, hash_floats(out));
  kernels().gelu(a.data(), size, out.data());
  results.add("gelu " + name, hash_floats(out));
  kernels().softmax(a.data(), size, out.data());
  results.add("softmax " + name, hash_floats(out));
  kernels().silu_mul(a.data(), b.data(), size, out.data());
  results.add("silu_mul " + name, hash_floats(out));
  std::vector<float> x = a;
  kernels().rotate_halves(x.data(), b.data(), b.data() + size, size);
  results.add("rotate_halves " + name, hash_floats(x));
}

struct Shape {
  size_t tokens, first_position, heads, head_dim, window;
};

// Pages of one head's rows, as a cache holds them.
class Cache {
 public:
  Cache(Type type, size_t positions, size_t head_dim, const char* values) : row_bytes_(info(type).row_bytes(head_dim)) {
    const size_t n_pages = (positions + kPagePositions - 1) / kPagePositions;
    const std::vector<float> x = weights(distribution(values), n_pages * kPagePositions * head_dim);
    bytes_.resize(n_pages * kPagePositions * row_bytes_);
    RecodeJob job{};
    job.source = reinterpret_cast<const uint8_t*>(x.data());
    job.source_type = Type::F32;
    job.target = bytes_.data();
    job.target_type = type;
    job.rows = n_pages * kPagePositions;
    job.cols = head_dim;
    recode({job}, {});
    for (size_t i = 0; i < n_pages; ++i) pages_.push_back(bytes_.data() + i * kPagePositions * row_bytes_);
  }

  CachedRows rows() const { return {pages_.data(), 0, row_bytes_}; }

 private:
  size_t row_bytes_;
  std::vector<uint8_t> bytes_;
  std::vector<const uint8_t*> pages_;
};

void add_attention(Results& results, Type type, const Shape& s) {
  const Cache keys(type, s.first_position + s.tokens, s.head_dim, "heavy_tailed");
  const Cache values(type, s.first_position + s.tokens, s.head_dim, "normal");
  const std::vector<float> queries = weights(distribution("normal"), s.tokens * s.heads * s.head_dim);
  std::vector<float> out(queries.size());
  AttentionJob job{};
  job.queries = queries.data();
  job.out = out.data();
  job.query_stride = job.out_stride = s.heads * s.head_dim;
  job.tokens = s.tokens;
  job.first_position = s.first_position;
  job.heads = s.heads;
  job.head_dim = s.head_dim;
  job.window = s.window;
  job.scale = 0.125f;
  job.keys = keys.rows();
  job.values = values.rows();
  job.type = type;
  job.blocks_per_row = s.head_dim / static_cast<size_t>(info(type).block_width);
  job.decode = kernels().decode[static_cast<int>(type)];
  std::vector<float> scratch(kernels().attention_scratch(job));
  job.scratch = scratch.data();
  kernels().attend(job);
  results.add(std::string("attend ") + info(type).name + " tokens " + std::to_string(s.tokens) + " after " +
                  std::to_string(s.first_position) + " window " + std::to_string(s.window),
              hash_floats(out));
}

}  // namespace

void add_float_operations(Results& results) {
  constexpr size_t kSizes[] = {1, 15, 96, 1024};
  for (const Distribution& input : kDistributions) {
    for (const size_t size : kSizes) add_row_operations(results, input, size);
  }
  for (const Type type : {Type::F32, Type::F16, Type::Q8_0}) {
    add_attention(results, type, {1, 0, 2, 96, 0});
    add_attention(results, type, {70, 0, 2, 32, 0});
    add_attention(results, type, {3, 300, 3, 96, 0});
    add_attention(results, type, {3, 300, 3, 96, 130});
    add_attention(results, type, {7, 1020, 1, 40, 600});
  }
}

}  // namespace phigguf::digest
