// What lies between the matrix products: norms, gates, rotations and attention over a cache.
#include "dispatch/dispatch.h"
#include "inputs.h"
#include "ops/kv_cache.h"
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
struct Piece {
  size_t first, tokens;
};

void add_attention(Results& results, Type type, const Shape& s) {
  KvCache cache({1, {1, s.head_dim, type}, s.window});
  const size_t positions = s.first_position + s.tokens, width = cache.row_width(s.heads);
  std::vector<float> qkv = weights(distribution("heavy_tailed"), positions * width),
                     out(positions * s.heads * s.head_dim);
  AttendTask task{};
  task.heads = s.heads;
  task.scale = 0.125f;
  for (const Piece& piece : {Piece{0, s.first_position}, Piece{s.first_position, s.tokens}}) {
    task.qkv = qkv.data() + piece.first * width;
    task.tokens = piece.tokens;
    task.out = out.data() + piece.first * s.heads * s.head_dim;
    cache.attend(0, task);
  }
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
    add_attention(results, type, {7, 1020, 1, 64, 600});
  }
  add_attention(results, Type::F16, {7, 1020, 1, 40, 600});
  add_attention(results, Type::F16, {20, 100, 1, 160, 0});
}

}  // namespace phigguf::digest
