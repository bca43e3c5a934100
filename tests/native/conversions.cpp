// Floats to blocks of every type and back.
#include "dispatch/dispatch.h"
#include "inputs.h"
#include "ops/recode.h"
#include "results.h"

namespace phigguf::digest {
namespace {

constexpr size_t kRows = 5, kCols = 768;  // 15 super-blocks: no number of lanes divides them

struct Source {
  std::string name;
  Type type;
  const void* weights;
  const float* importance;
};

void encode(Results& results, Type target, const Source& source) {
  std::vector<uint8_t> blocks(kRows * info(target).row_bytes(kCols));
  RecodeJob job{};
  job.source = static_cast<const uint8_t*>(source.weights);
  job.source_type = source.type;
  job.target = blocks.data();
  job.target_type = target;
  job.rows = kRows;
  job.cols = kCols;
  job.importance = source.importance;
  job.measure_error = true;
  const RecodeResult result = recode({job}, {});

  const std::string name = std::string(info(target).name) + " from " + source.name;
  Hash hash;
  if (result.problem == Problem::kNone) {
    hash.add(blocks.data(), blocks.size());
    Hash error;
    error.add(result.squared_errors.data(), sizeof(double));
    results.add("squared error of " + name, error.value());
  } else {
    const uint64_t where[] = {static_cast<uint64_t>(result.problem), result.row, result.col};
    hash.add(where, sizeof where);
  }
  results.add("encode " + name, hash.value());
}

void encode_all(Results& results, const Distribution& distribution) {
  const std::vector<float> x = weights(distribution, kRows * kCols);
  const std::vector<float> dense = importance(kCols, false), sparse = importance(kCols, true);
  std::vector<float16> halves;
  std::vector<bfloat16> brain_halves;
  for (const float value : x) {
    halves.push_back(to_float16(value));
    brain_halves.push_back(to_bfloat16(value));
  }
  const std::string name = distribution.name;
  for (const Type type : all_types()) {
    encode(results, type, {name + " F32", Type::F32, x.data(), nullptr});
    encode(results, type, {name + " F16", Type::F16, halves.data(), nullptr});
    encode(results, type, {name + " BF16", Type::BF16, brain_halves.data(), nullptr});
    if (is_float_type(type)) continue;
    encode(results, type, {name + " F32 weighted", Type::F32, x.data(), dense.data()});
    encode(results, type, {name + " F32 weighted with zeros", Type::F32, x.data(), sparse.data()});
  }
}

// Random bytes are valid blocks of every type, with every code and some infinite and NaN scales.
void decode(Results& results, Type type) {
  constexpr size_t kBlocks = 301;
  const std::vector<uint8_t> blocks = bytes(kBlocks * static_cast<size_t>(info(type).block_bytes));
  std::vector<float> out(kBlocks * static_cast<size_t>(info(type).block_width));
  kernels().decode[static_cast<int>(type)](blocks.data(), kBlocks, out.data());
  results.add(std::string("decode ") + info(type).name, hash_floats(out));
}

}  // namespace

void add_conversions(Results& results) {
  for (const Distribution& distribution : kDistributions) encode_all(results, distribution);
  for (const Type type : all_types()) decode(results, type);
}

}  // namespace phigguf::digest
