// softmax(scale * q k^T) v over cached keys and values, with the softmax carried along ("online").
//
// Keys are visited in blocks of kKeys positions that begin at multiples of kKeys, and a query's result depends on its
// own visible positions alone: neither how a prompt was cut into pieces nor the cache's size shows in it. Per block,
//   s_j = scale * (q . k_j)         products summed as lane_sums.h says
//   m' = max(m, max_j s_j)          a = e^(m - m')
//   l_p = l_p * a + e^(s_j - m')    sixteen sums, position j in sum j % 16
//   o = fma(e^(s_j - m'), v_j, ...fma over j in order..., o * a)
// and the output is o / (tree sum of l).
#pragma once

#include "kernels/compute_jobs.h"
#include "kernels/exp.h"
#include "kernels/lane_sums.h"

PHIGGUF_BEGIN_ISA

constexpr size_t kKeys = 64;
static_assert(kPagePositions % kKeys == 0 && kKeys % kPartials == 0);

// Floats of a head, padded with zeros to whole partial sums.
inline size_t padded_head(size_t head_dim) { return (head_dim + kPartials - 1) / kPartials * kPartials; }

// What is kept of a query: itself, its output before division, sixteen sums and the highest score. Like rows of keys
// it takes whole runs of sixteen floats, so that no vector crosses a cache line in aligned scratch memory.
inline size_t state_floats(size_t head_dim) { return 2 * padded_head(head_dim) + 2 * kPartials; }

struct Span {
  size_t begin, end;
};

class Attention {
 public:
  explicit Attention(const AttentionJob& job) : job_(job), width_(padded_head(job.head_dim)) {
    keys_ = job.scratch;
    values_ = keys_ + kKeys * width_;
    states_ = values_ + kKeys * width_;
    const float* end = job.scratch + scratch_floats(job);
    float* zeroed = width_ == job.head_dim ? states_ : keys_;  // rows without padding need no zeros
    std::memset(zeroed, 0, static_cast<size_t>(end - zeroed) * sizeof(float));
  }

  static size_t scratch_floats(const AttentionJob& job) {
    return 2 * kKeys * padded_head(job.head_dim) + job.tokens * job.heads * state_floats(job.head_dim);
  }

  void run() {
    begin_queries();
    const size_t first = visible(0).begin / kKeys * kKeys, end = job_.first_position + job_.tokens;
    for (size_t start = first; start < end; start += kKeys) {
      read_rows(job_.keys, start, keys_);
      read_rows(job_.values, start, values_);
      for (size_t t = 0; t < job_.tokens; ++t) attend_token(t, start);
    }
    finish_queries();
  }

 private:
  // Positions that token t sees.
  Span visible(size_t t) const {
    const size_t end = job_.first_position + t + 1;
    return {job_.window != 0 && end > job_.window ? end - job_.window : 0, end};
  }

  float* query(size_t t, size_t head) const { return states_ + (t * job_.heads + head) * state_floats(job_.head_dim); }
  float* output(size_t t, size_t head) const { return query(t, head) + width_; }
  float* sums(size_t t, size_t head) const { return output(t, head) + width_; }
  float& highest(size_t t, size_t head) const { return sums(t, head)[kPartials]; }

  void begin_queries() {
    for (size_t t = 0; t < job_.tokens; ++t) {
      for (size_t h = 0; h < job_.heads; ++h) {
        const float* source = job_.queries + t * job_.query_stride + h * job_.head_dim;
        std::memcpy(query(t, h), source, job_.head_dim * sizeof(float));
        highest(t, h) = -kInfinity;
      }
    }
  }

  void finish_queries() {
    for (size_t t = 0; t < job_.tokens; ++t) {
      for (size_t h = 0; h < job_.heads; ++h) {
        const f32v sum = set(tree_sum(load_partials(sums(t, h))));
        float* o = output(t, h);
        for (size_t d = 0; d < width_; d += kLanes) store(o + d, load(o + d) / sum);
        std::memcpy(job_.out + t * job_.out_stride + h * job_.head_dim, o, job_.head_dim * sizeof(float));
      }
    }
  }

  void read_rows(const CachedRows& cached, size_t start, float* rows) const {
    const uint8_t* first =
        cached.pages[start / kPagePositions] + cached.page_offset + start % kPagePositions * cached.row_bytes;
    const size_t cached_rows = job_.first_position + job_.tokens - start;
    for (size_t j = 0; j < kKeys && j < cached_rows; ++j) {
      job_.decode(first + j * cached.row_bytes, job_.blocks_per_row, rows + j * width_);
    }
  }

  void attend_token(size_t t, size_t start) {
    const Span all = visible(t);
    const Span block = {all.begin > start ? all.begin - start : 0,
                        all.end > start ? (all.end - start < kKeys ? all.end - start : kKeys) : 0};
    if (block.begin >= block.end) return;
    for (size_t h = 0; h < job_.heads; ++h) {
      float weights[kKeys];
      score_keys(query(t, h), block, weights);
      weigh_values(t, h, block, weights);
    }
  }

  // scores[j] for the keys in view, -infinity for the others.
  void score_keys(const float* q, Span block, float* scores) const {
    int32_t order[kLanes];
    for (int l = 0; l < kLanes; ++l) order[l] = l;
    for (size_t j = 0; j < kKeys; j += kLanes) {
      if (j + kLanes <= block.begin || j >= block.end) {
        store(scores + j, set(-kInfinity));
        continue;
      }
      const i32v key = load(order) + set(static_cast<int32_t>(j));
      const maskv seen =
          (key > set(static_cast<int32_t>(block.begin) - 1)) & ~(key > set(static_cast<int32_t>(block.end) - 1));
      Partials sum[kLanes];
      for (size_t l = 0; l < kLanes; l += kChains) multiply_keys(q, keys_ + (j + l) * width_, sum + l);
      store(scores + j, select(seen, tree_sums(sum) * set(job_.scale), set(-kInfinity)));
    }
  }

  void multiply_keys(const float* q, const float* keys, Partials* sums) const {
    Partials chain[kChains];
    for (Partials& sum : chain) sum = zero_partials();
    for (size_t d = 0; d < width_; d += kPartials) {
      const Partials qd = load_partials(q + d);
      for (size_t i = 0; i < kChains; ++i) add_products(chain[i], qd, load_partials(keys + i * width_ + d));
    }
    for (size_t i = 0; i < kChains; ++i) sums[i] = chain[i];
  }

  static float highest_of(const float* scores, float top) {
    f32v tops = set(top);
    for (size_t j = 0; j < kKeys; j += kLanes) tops = max(load(scores + j), tops);
    float lanes[kLanes];
    store(lanes, tops);
    for (const float lane : lanes) top = lane > top ? lane : top;
    return top;
  }

  void weigh_values(size_t t, size_t h, Span block, float* scores) {
    const float top = highest_of(scores, highest(t, h));
    const f32v shrink = exp(set(highest(t, h) - top));
    highest(t, h) = top;

    Partials sum = load_partials(sums(t, h));
    for (f32v& v : sum.v) v = v * shrink;
    for (size_t j = 0; j < kKeys; j += kPartials) {
      for (size_t v = 0; v < kVectors; ++v) {
        const f32v weight = exp(load(scores + j + v * kLanes) - set(top));
        sum.v[v] = sum.v[v] + weight;
        store(scores + j + v * kLanes, weight);
      }
    }
    store_partials(sums(t, h), sum);
    add_values(output(t, h), shrink, block, scores);
  }

  // Several runs of the head at a time, so that one sum need not wait for itself.
  void add_values(float* out, f32v shrink, Span block, const float* weights) const {
    size_t d = 0;
    for (; d + 4 * kPartials <= width_; d += 4 * kPartials) add_value_runs<4>(out, d, shrink, block, weights);
    for (; d + 2 * kPartials <= width_; d += 2 * kPartials) add_value_runs<2>(out, d, shrink, block, weights);
    for (; d < width_; d += kPartials) add_value_runs<1>(out, d, shrink, block, weights);
  }

  template <int Runs>
  void add_value_runs(float* out, size_t d, f32v shrink, Span block, const float* weights) const {
    f32v o[Runs * kVectors];
    for (size_t v = 0; v < Runs * kVectors; ++v) o[v] = load(out + d + v * kLanes) * shrink;
    for (size_t j = block.begin; j < block.end; ++j) {
      const float* value = values_ + j * width_ + d;
      const f32v weight = set(weights[j]);
      for (size_t v = 0; v < Runs * kVectors; ++v) o[v] = fma(weight, load(value + v * kLanes), o[v]);
    }
    for (size_t v = 0; v < Runs * kVectors; ++v) store(out + d + v * kLanes, o[v]);
  }

  static constexpr size_t kChains = kLanes == 1 ? 1 : kLanes / 2;  // keys at a time: eight vectors of sums
  static constexpr float kInfinity = __builtin_inff();
  const AttentionJob& job_;
  size_t width_;
  float *keys_, *values_, *states_;
};

inline size_t attention_scratch(const AttentionJob& job) { return Attention::scratch_floats(job); }
inline void attend(const AttentionJob& job) { Attention(job).run(); }

PHIGGUF_END_ISA
