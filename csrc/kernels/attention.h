// softmax(scale * q k^T) v over cached keys and values, with the softmax carried along ("online").
//
// Keys are visited in blocks of kKeys positions and spans of kSpanPositions, which begin at multiples of their
// length, and a query's result depends on its own visible positions alone: neither how a prompt was cut into pieces
// nor the cache's size shows in it. Per block, with a key's weight zero where the query does not see it,
//   s_j = sum over runs of kRun dimensions, in order, of (scale * q_d) * k_jd
//   m' = max(m, max_j s_j)          a = e^(m - m')
//   l_p = l_p * a + e^(s_j - m')    sixteen sums, position j in sum j % 16
//   o = o * a + sum over j of e^(s_j - m') * v_j
// (both sums of products are chains of fma from zero, in order) from m = -infinity, l = o = 0 in each span. Spans are
// then joined in order,
//   m'' = max(m, m')    (l, o) = fma((l', o'), e^(m' - m''), (l, o) * e^(m - m''))
// and the output is o / (tree sum of l), never minus zero.
//
// A block's keys are turned once so that vector lanes are keys; both products then are row_tile.h's.
#pragma once

#include "kernels/compute_jobs.h"
#include "kernels/exp.h"
#include "kernels/lane_sums.h"
#include "kernels/row_tile.h"

PHIGGUF_BEGIN_ISA

constexpr size_t kKeys = 64;
constexpr size_t kRun = 32;  // a chain's rounding error grows with its length
static_assert(kPagePositions % kKeys == 0 && kSpanPositions % kKeys == 0 && kKeys % kPartials == 0);

// Floats of a head, padded to whole runs of sixteen, so that no vector crosses a cache line.
inline size_t padded_head(size_t head_dim) { return (head_dim + kPartials - 1) / kPartials * kPartials; }

// What some positions give to a row of queries: o, the sixteen l, and m.
class RowState {
 public:
  static size_t floats(size_t width) { return width + 2 * kPartials; }
  RowState(float* memory, size_t width) : o_(memory), width_(width) {}

  float* output() const { return o_; }
  float* sums() const { return o_ + width_; }
  float& highest() const { return o_[width_ + kPartials]; }

  void clear() const {
    std::memset(o_, 0, floats(width_) * sizeof(float));
    highest() = -__builtin_inff();
  }

  // Prepares for a new highest score and says what it is.
  float raise(float top) const {
    if (top <= highest()) return highest();
    shrink(exp(set(highest() - top)));
    return highest() = top;
  }

  void join(const RowState& later) const {
    if (later.highest() == -__builtin_inff()) return;
    const f32v weight = exp(set(later.highest() - raise(later.highest())));
    for (size_t i = 0; i < width_ + kPartials; i += kLanes)
      store(o_ + i, fma(load(later.o_ + i), weight, load(o_ + i)));
  }

  void finish(float* out, size_t head_dim) const {
    const f32v sum = set(tree_sum(load_partials(sums())));
    for (size_t d = 0; d < width_; d += kLanes) store(o_ + d, load(o_ + d) / sum + set(0.0f));
    std::memcpy(out, o_, head_dim * sizeof(float));
  }

 private:
  void shrink(f32v factor) const {
    for (size_t i = 0; i < width_ + kPartials; i += kLanes) store(o_ + i, load(o_ + i) * factor);
  }

  float* o_;
  size_t width_;
};

struct Interval {
  size_t begin, end;
};

// The queries of a job, row t * heads + h for token t and head h, against one block of keys after another.
class Attention {
 public:
  explicit Attention(const AttentionJob& job)
      : job_(job), width_(padded_head(job.head_dim)), rows_(job.tokens * job.heads) {
    queries_ = job.scratch;
    fresh_ = queries_ + rows_ * width_;
    keys_ = fresh_ + kPartials * width_;
    values_ = keys_ + width_ * kKeys;
    weights_ = values_ + kKeys * width_;
    part_ = weights_ + kTileRows * kKeys;
    for (size_t row = 0; row < rows_; ++row) scale_query(row);
  }

  static size_t part_floats(const AttentionJob& job) {
    return job.tokens * job.heads * RowState::floats(padded_head(job.head_dim));
  }
  static size_t scratch_floats(const AttentionJob& job) {
    const size_t width = padded_head(job.head_dim);
    return (job.tokens * job.heads + kPartials + 2 * kKeys) * width + kTileRows * kKeys + 2 * part_floats(job);
  }

  void attend() {
    float* total = part_ + part_floats(job_);
    clear(total);
    const size_t end = job_.first_position + job_.tokens;
    for (size_t span = visible(0).begin / kSpanPositions; span * kSpanPositions < end; ++span) {
      attend_span(span, part_);
      join(total, part_);
    }
    finish(total);
  }

  void attend_span(size_t span, float* part) {
    clear(part);
    const size_t first = visible(0).begin / kKeys * kKeys, begin = span * kSpanPositions;
    const size_t end = smaller(begin + kSpanPositions, job_.first_position + job_.tokens);
    for (size_t start = larger(begin, first); start < end; start += kKeys) attend_block(start, part);
  }

  void join_spans(float* parts, size_t spans) {
    for (size_t span = 1; span < spans; ++span) join(parts, parts + span * part_floats(job_));
    finish(parts);
  }

 private:
  static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }
  static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

  // Positions that token t sees.
  Interval visible(size_t t) const {
    const size_t end = job_.first_position + t + 1;
    return {job_.window != 0 && end > job_.window ? end - job_.window : 0, end};
  }
  // Of them those in the block that begins at `start`, from there.
  Interval visible_in(Interval all, size_t start) const {
    return {all.begin > start ? smaller(all.begin - start, kKeys) : 0,
            all.end > start ? smaller(all.end - start, kKeys) : 0};
  }

  RowState state(float* part, size_t row) const { return {part + row * RowState::floats(width_), width_}; }
  void clear(float* part) const {
    for (size_t row = 0; row < rows_; ++row) state(part, row).clear();
  }
  void join(float* total, float* part) const {
    for (size_t row = 0; row < rows_; ++row) state(total, row).join(state(part, row));
  }
  void finish(float* total) const {
    for (size_t row = 0; row < rows_; ++row) {
      const size_t t = row / job_.heads, h = row % job_.heads;
      state(total, row).finish(job_.out + t * job_.out_stride + h * job_.head_dim, job_.head_dim);
    }
  }

  void scale_query(size_t row) {
    const float* source = job_.queries + row / job_.heads * job_.query_stride + row % job_.heads * job_.head_dim;
    for (size_t d = 0; d < job_.head_dim; ++d) queries_[row * width_ + d] = source[d] * job_.scale;
  }

  void attend_block(size_t start, float* part) {
    const size_t cached = smaller(kKeys, job_.first_position + job_.tokens - start);
    read_keys(start, cached);
    read_values(start, cached);
    const size_t tiles = (rows_ + kTileRows - 1) / kTileRows;
    for (size_t i = 0; i < tiles; ++i) attend_tile(start, {rows_ * i / tiles, rows_ * (i + 1) / tiles}, part);
  }

  // kPartials rows of keys or values as floats; zeros past the `cached` first.
  void read_rows(const CachedRows& from, size_t position, size_t cached, float* out) const {
    const size_t count = smaller(cached, kPartials);
    const size_t offset = from.page_offset + position % kPagePositions * from.row_bytes;
    const uint8_t* first = from.pages[position / kPagePositions] + offset;
    if (width_ == job_.head_dim) {
      job_.decode(first, count * job_.blocks_per_row, out);
    } else {
      std::memset(out, 0, count * width_ * sizeof(float));
      for (size_t i = 0; i < count; ++i) {
        job_.decode(first + i * from.row_bytes, job_.blocks_per_row, out + i * width_);
      }
    }
    std::memset(out + count * width_, 0, (kPartials - count) * width_ * sizeof(float));
  }

  // keys_[d][j]
  void read_keys(size_t start, size_t cached) const {
    for (size_t j = 0; j < cached; j += kPartials) {
      read_rows(job_.keys, start + j, cached - j, fresh_);
      for (size_t d = 0; d < width_; d += kLanes) {
        for (size_t lane = 0; lane < kPartials; lane += kLanes)
          turn_square(fresh_ + lane * width_ + d, keys_ + d * kKeys + j + lane);
      }
    }
  }

  void turn_square(const float* rows, float* columns) const {
    f32v square[kLanes];
    for (size_t l = 0; l < kLanes; ++l) square[l] = load(rows + l * width_);
    transpose(square);
    for (size_t l = 0; l < kLanes; ++l) store(columns + l * kKeys, square[l]);
  }

  void read_values(size_t start, size_t cached) const {
    for (size_t j = 0; j < cached; j += kPartials) {
      read_rows(job_.values, start + j, cached - j, values_ + j * width_);
    }
  }

  static size_t whole_runs(size_t n) { return (n + kPartials - 1) / kPartials * kPartials; }

  void attend_tile(size_t start, Interval rows, float* part) {
    const size_t n = rows.end - rows.begin;
    const Interval first = visible_in(visible(rows.begin / job_.heads), start);
    const Interval last = visible_in(visible((rows.end - 1) / job_.heads), start);
    if (first.begin >= last.end) return;
    const size_t columns = whole_runs(last.end);
    std::memset(weights_, 0, n * kKeys * sizeof(float));
    const float* queries = queries_ + rows.begin * width_;
    for (size_t d = 0; d < job_.head_dim; d += kRun) {
      const size_t end = smaller(d + kRun, job_.head_dim);
      multiply_rows({queries, width_, keys_, kKeys, weights_, kKeys, d, end, columns}, n);
    }
    for (size_t i = 0; i < n; ++i) {
      const size_t row = rows.begin + i;
      weigh(weights_ + i * kKeys, columns, visible_in(visible(row / job_.heads), start), state(part, row));
    }
    float* outputs = state(part, rows.begin).output();
    multiply_rows({weights_, kKeys, values_, width_, outputs, RowState::floats(width_), first.begin, last.end, width_},
                  n);
  }

  // Turns scores into weights.
  static void weigh(float* scores, size_t columns, Interval seen, const RowState& row) {
    if (seen.begin >= seen.end) {
      std::memset(scores, 0, columns * sizeof(float));
      return;
    }
    for (size_t j = 0; j < seen.begin; ++j) scores[j] = -__builtin_inff();
    for (size_t j = seen.end; j < columns; ++j) scores[j] = -__builtin_inff();
    const f32v top = set(row.raise(highest_of(scores, columns)));
    Partials sum = load_partials(row.sums());
    for (size_t j = 0; j < columns; j += kPartials) {
      for (size_t v = 0; v < kVectors; ++v) {
        const f32v weight = exp(load(scores + j + v * kLanes) - top);
        sum.v[v] = sum.v[v] + weight;
        store(scores + j + v * kLanes, weight);
      }
    }
    store_partials(row.sums(), sum);
  }

  static float highest_of(const float* scores, size_t columns) {
    f32v tops = load(scores);
    for (size_t j = kLanes; j < columns; j += kLanes) tops = max(load(scores + j), tops);
    float lanes[kLanes];
    store(lanes, tops);
    float top = lanes[0];
    for (const float lane : lanes) top = lane > top ? lane : top;
    return top;
  }

  const AttentionJob& job_;
  size_t width_, rows_;
  float *queries_, *fresh_, *keys_, *values_, *weights_, *part_;
};

inline size_t attention_scratch(const AttentionJob& job) { return Attention::scratch_floats(job); }
inline size_t attention_part(const AttentionJob& job) { return Attention::part_floats(job); }
inline void attend(const AttentionJob& job) { Attention(job).attend(); }
inline void attend_span(const AttentionJob& job, size_t span, float* part) { Attention(job).attend_span(span, part); }
inline void join_spans(const AttentionJob& job, float* parts, size_t spans) { Attention(job).join_spans(parts, spans); }

PHIGGUF_END_ISA
