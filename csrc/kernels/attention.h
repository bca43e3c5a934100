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
// Vector lanes are keys in the first product and dimensions in the second. For many queries a block's keys are turned
// and its values made floats once, for row_tile.h to multiply; a few queries read both where they lie.
#pragma once

#include "kernels/compute_jobs.h"
#include "kernels/row_state.h"
#include "kernels/row_tile.h"
#include "kernels/sizes.h"
#include "kernels/turned_rows.h"

PHIGGUF_BEGIN_ISA

constexpr size_t kKeys = 64;
constexpr size_t kRun = 32;  // a chain's rounding error grows with its length
static_assert(kPagePositions % kKeys == 0 && kSpanPositions % kKeys == 0 && kKeys % kPartials == 0);

// n padded to whole runs of sixteen, so that no vector crosses a cache line.
inline size_t whole_runs(size_t n) { return (n + kPartials - 1) / kPartials * kPartials; }

// Asks memory for two arrays a little at a time: of many requests at once most are dropped.
class Prefetch {
 public:
  Prefetch(const uint8_t* first, const uint8_t* second, size_t size) : first_(first), second_(second), size_(size) {}

  void fetch(size_t bytes) {
    constexpr size_t kCacheLine = 64;
    due_ += bytes;
    for (; asked_ < due_ && asked_ < size_; asked_ += kCacheLine) {
      __builtin_prefetch(first_ + asked_, 0, 2);
      __builtin_prefetch(second_ + asked_, 0, 2);
    }
  }

 private:
  const uint8_t *first_, *second_;
  size_t size_, due_ = 0, asked_ = 0;
};

// The queries of a job, row t * heads + h for token t and head h, against one block of keys after another.
class Attention {
 public:
  explicit Attention(const AttentionJob& job)
      : job_(job), width_(whole_runs(job.head_dim)), rows_(job.tokens * job.heads) {
    queries_ = job.scratch;
    keys_ = queries_ + rows_ * width_;
    values_ = keys_ + width_ * kKeys;
    weights_ = values_ + kKeys * width_;
    part_ = weights_ + rows_ * kKeys;
    for (size_t row = 0; row < rows_; ++row) scale_query(row);
  }

  static size_t part_floats(const AttentionJob& job) {
    return job.tokens * job.heads * RowState::floats(whole_runs(job.head_dim));
  }
  static size_t scratch_floats(const AttentionJob& job) {
    const size_t rows = job.tokens * job.heads, width = whole_runs(job.head_dim);
    return (rows + 2 * kKeys) * width + rows * kKeys + 2 * part_floats(job);
  }

  void attend() {
    float* total = part_ + part_floats(job_);
    clear(total);
    for (size_t span = visible(0).begin / kSpanPositions; span * kSpanPositions < cached(); ++span) {
      attend_span(span, part_);
      join(total, part_);
    }
    finish(total);
  }

  void attend_span(size_t span, float* part) {
    clear(part);
    const size_t first = visible(0).begin / kKeys * kKeys, begin = span * kSpanPositions;
    const size_t end = smaller(begin + kSpanPositions, cached());
    for (size_t start = larger(begin, first); start < end; start += kKeys) {
      rows_ <= kTileRows ? attend_where_they_lie(start, part) : attend_block(start, part);
    }
  }

  void join_spans(float* parts, size_t spans) {
    for (size_t span = 1; span < spans; ++span) join(parts, parts + span * part_floats(job_));
    finish(parts);
  }

 private:
  size_t cached() const { return job_.first_position + job_.tokens; }

  // Positions that a row of queries sees.
  Interval visible(size_t row) const {
    const size_t end = job_.first_position + row / job_.heads + 1;
    return {job_.window != 0 && end > job_.window ? end - job_.window : 0, end};
  }
  // Of them those in the block that begins at `start`, from there.
  Interval visible_in(size_t start, size_t row) const {
    const Interval all = visible(row);
    return {all.begin > start ? smaller(all.begin - start, kKeys) : 0,
            all.end > start ? smaller(all.end - start, kKeys) : 0};
  }
  // The same for any of several rows.
  Interval visible_in(size_t start, Interval rows) const {
    return {visible_in(start, rows.begin).begin, visible_in(start, rows.end - 1).end};
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

  void scale_query(size_t row) const {
    const float* source = job_.queries + row / job_.heads * job_.query_stride + row % job_.heads * job_.head_dim;
    float* query = queries_ + row * width_;
    for (size_t d = 0; d < job_.head_dim; ++d) query[d] = source[d] * job_.scale;
    for (size_t d = job_.head_dim; d < width_; ++d) query[d] = 0.0f;
  }

  // Rows in the cache, and whether they are floats that vectors can be loaded from.
  const uint8_t* address(const CachedRows& from, size_t position) const {
    return from.pages[position / kPagePositions] + from.page_offset + position % kPagePositions * from.row_bytes;
  }
  bool holds(Type type) const { return job_.type == type && width_ == job_.head_dim; }

  // Rows of blocks, or of an odd length, as floats with zeros after them.
  void decode_rows(const uint8_t* rows, size_t row_bytes, size_t count, float* out) const {
    if (width_ == job_.head_dim) return job_.decode(rows, count * job_.blocks_per_row, out);
    std::memset(out, 0, count * width_ * sizeof(float));
    for (size_t i = 0; i < count; ++i) job_.decode(rows + i * row_bytes, job_.blocks_per_row, out + i * width_);
  }

  // Calls use(rows) with `count` rows of keys or values in a block, width_ apart: where they lie if that is possible,
  // else decoded to `memory`. Those past the cached ones are in its page too, and can be anything.
  template <class Use>
  void with_rows(const CachedRows& from, size_t start, size_t count, float* memory, const Use& use) const {
    const uint8_t* rows = address(from, start);
    if (holds(Type::F16)) return use(reinterpret_cast<const float16*>(rows));
    if (holds(Type::F32)) return use(reinterpret_cast<const float*>(rows));
    decode_rows(rows, from.row_bytes, count, memory);
    use(static_cast<const float*>(memory));
  }

  // Calls use(rows, seen) for one tile of rows after another, with the positions that any of them sees.
  template <class Use>
  void for_tiles(size_t start, const Use& use) const {
    const size_t tiles = (rows_ + kTileRows - 1) / kTileRows;
    for (size_t i = 0; i < tiles; ++i) {
      const Interval rows{rows_ * i / tiles, rows_ * (i + 1) / tiles}, seen = visible_in(start, rows);
      if (seen.begin < seen.end) use(rows, seen);
    }
  }

  void attend_block(size_t start, float* part) const {
    Prefetch next = block_after(start);
    const size_t share = kKeys * job_.keys.row_bytes * kTileRows / rows_ / 2;  // each tile is visited twice
    turn_keys(start);
    for_tiles(start, [&](Interval rows, Interval seen) {
      next.fetch(share);
      multiply_keys(rows, whole_runs(seen.end));
      weigh(start, rows, whole_runs(seen.end), part);
    });
    const size_t count = smaller(cached() - start, kKeys);
    decode_rows(address(job_.values, start), job_.values.row_bytes, count, values_);
    for_tiles(start, [&](Interval rows, Interval seen) {
      next.fetch(share);
      add_values<float>(rows, seen, values_, part);
    });
  }

  // keys_[d][j]
  void turn_keys(size_t start) const {
    const size_t columns = whole_runs(smaller(cached() - start, kKeys));
    with_rows(job_.keys, start, columns, values_, [&](auto* rows) {
      for (size_t j = 0; j < columns; j += kLanes) turn_rows(rows + j * width_, width_, width_, keys_ + j, kKeys);
    });
  }

  void multiply_keys(Interval rows, size_t columns) const {
    const size_t n = rows.end - rows.begin;
    float* scores = weights_ + rows.begin * kKeys;
    std::memset(scores, 0, n * kKeys * sizeof(float));
    for (size_t d = 0; d < width_; d += kRun) {
      const size_t end = smaller(d + kRun, width_);
      multiply_rows<float>({queries_ + rows.begin * width_, width_, keys_, kKeys, scores, kKeys, d, end, columns}, n);
    }
  }

  // Turns scores into weights.
  void weigh(size_t start, Interval rows, size_t columns, float* part) const {
    for (size_t row = rows.begin; row < rows.end; ++row) {
      state(part, row).weigh(weights_ + row * kKeys, columns, visible_in(start, row));
    }
  }

  template <class Element>
  void add_values(Interval rows, Interval seen, const Element* values, float* part) const {
    const float* weights = weights_ + rows.begin * kKeys;
    float* outputs = state(part, rows.begin).output();
    multiply_rows<Element>(
        {weights, kKeys, values, width_, outputs, RowState::floats(width_), seen.begin, seen.end, width_},
        rows.end - rows.begin);
  }

  // A few queries: all of them are one tile.
  void attend_where_they_lie(size_t start, float* part) const {
    const Interval rows{0, rows_}, seen = visible_in(start, rows);
    if (seen.begin >= seen.end) return;
    const size_t columns = whole_runs(seen.end);
    Prefetch next = block_after(start);
    with_rows(job_.keys, start, columns, keys_, [&](auto* keys) {
      for (size_t j = 0; j < columns; j += kLanes) multiply_few(keys + j * width_, weights_ + j, next);
    });
    weigh(start, rows, columns, part);
    with_rows(job_.values, start, seen.end, values_, [&](auto* values) { add_values(rows, seen, values, part); });
  }

  // The scores of kLanes keys, while the next block is on its way.
  template <class Element>
  void multiply_few(const Element* keys, float* scores, Prefetch& next) const {
    const size_t bytes = job_.keys.row_bytes * kLanes * kLanes / width_;
    const auto fetch = [&] { next.fetch(bytes); };
    unroll<kTileRows>([&](auto i) PHIGGUF_INLINE {
      if (rows_ == i + 1) multiply_turned<i + 1, kRun>(queries_, width_, keys, width_, width_, scores, kKeys, fetch);
    });
  }

  Prefetch block_after(size_t start) const {
    const size_t next = start + kKeys;
    if (next >= cached()) return {nullptr, nullptr, 0};
    return {address(job_.keys, next), address(job_.values, next), kKeys * job_.keys.row_bytes};
  }

  const AttentionJob& job_;
  size_t width_, rows_;
  float *queries_, *keys_, *values_, *weights_, *part_;
};

inline size_t attention_scratch(const AttentionJob& job) { return Attention::scratch_floats(job); }
inline size_t attention_part(const AttentionJob& job) { return Attention::part_floats(job); }
inline void attend(const AttentionJob& job) { Attention(job).attend(); }
inline void attend_span(const AttentionJob& job, size_t span, float* part) { Attention(job).attend_span(span, part); }
inline void join_spans(const AttentionJob& job, float* parts, size_t spans) { Attention(job).join_spans(parts, spans); }

PHIGGUF_END_ISA
