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

// What is kept of a query: itself, its output before division, sixteen sums and the highest score.
inline size_t state_floats(size_t head_dim) { return 2 * padded_head(head_dim) + kPartials + 1; }

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
      for (int l = 0; l < kLanes; ++l) {
        sum[l] = zero_partials();
        const float* k = keys_ + (j + static_cast<size_t>(l)) * width_;
        for (size_t d = 0; d < width_; d += kPartials) add_products(sum[l], load_partials(q + d), load_partials(k + d));
      }
      store(scores + j, select(seen, tree_sums(sum) * set(job_.scale), set(-kInfinity)));
    }
  }

  void weigh_values(size_t t, size_t h, Span block, float* scores) {
    float top = highest(t, h);
    for (size_t j = block.begin; j < block.end; ++j) top = scores[j] > top ? scores[j] : top;
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

  void add_values(float* out, f32v shrink, Span block, const float* weights) const {
    for (size_t d = 0; d < width_; d += kPartials) {
      Partials o = load_partials(out + d);
      for (f32v& v : o.v) v = v * shrink;
      for (size_t j = block.begin; j < block.end; ++j) {
        const Partials value = load_partials(values_ + j * width_ + d);
        for (int v = 0; v < kVectors; ++v) o.v[v] = fma(set(weights[j]), value.v[v], o.v[v]);
      }
      store_partials(out + d, o);
    }
  }

  static constexpr float kInfinity = __builtin_inff();
  const AttentionJob& job_;
  size_t width_;
  float *keys_, *values_, *states_;
};

inline size_t attention_scratch(const AttentionJob& job) { return Attention::scratch_floats(job); }
inline void attend(const AttentionJob& job) { Attention(job).run(); }

PHIGGUF_END_ISA
