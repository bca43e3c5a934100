// The rows of queries of an attention job, the cached rows that each sees, and where they lie.
#pragma once

#include "kernels/compute_jobs.h"
#include "kernels/row_states.h"
#include "kernels/sizes.h"

PHIGGUF_BEGIN_ISA

constexpr size_t kKeys = 128;  // positions of a block
static_assert(kPagePositions % kKeys == 0 && kSpanPositions % kKeys == 0 && kKeys % kPartials == 0);

struct Interval {
  size_t begin, end;
};

// Some rows at once, and the positions of a block that any of them sees.
struct RowTile {
  Interval rows, seen;
  bool see_whole_block;

  size_t count() const { return rows.end - rows.begin; }
  size_t columns() const { return whole_runs(seen.end); }
};

inline float highest_of(const float* scores, size_t columns) {
  f32v tops = set(RowStates::kLowest);
  for (size_t j = 0; j < columns; j += kLanes) tops = max(load(scores + j), tops);
  return highest_lane(tops);
}

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

// Row t * heads + h is that of token t and head h.
class AttentionRows {
 public:
  explicit AttentionRows(const AttentionJob& job)
      : job_(job), width_(whole_runs(job.head_dim)), count_(job.tokens * job.heads) {}

  size_t count() const { return count_; }
  size_t width() const { return width_; }  // of a row in memory, whose last dimensions may be zeros
  size_t cached() const { return job_.first_position + job_.tokens; }
  size_t part_floats() const { return RowStates::floats(count_, width_); }
  const AttentionJob& job() const { return job_; }

  // Positions that a row sees.
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
  // Several rows, and what any of them sees of that block.
  RowTile tile(size_t start, Interval rows) const {
    const Interval first = visible_in(start, rows.begin), last = visible_in(start, rows.end - 1);
    return {rows, {first.begin, last.end}, first.end == kKeys && last.begin == 0};
  }

  // Calls use(tile) for one tile of at most kRows rows after another, if any of these sees any position.
  template <size_t kRows, class Use>
  void for_tiles(size_t start, const Use& use) const {
    for (size_t row = 0; row < count_; row += kRows) {
      const RowTile one = tile(start, {row, smaller(row + kRows, count_)});
      if (one.seen.begin < one.seen.end) use(one);
    }
  }

  // Joins what a tile's scores, kKeys apart, give to its rows: weigh(r, top) turns row r's, of which `top` is the
  // highest that it sees, into weights and returns their sums.
  template <class Weigh>
  void weigh(size_t start, const RowTile& tile, size_t columns, float* scores, const RowStates& states,
             const Weigh& weigh) const {
    float tops[kPartials];
    for (float& top : tops) top = RowStates::kLowest;
    for (size_t r = 0; r < tile.count(); ++r) {
      float* row_scores = scores + r * kKeys;
      if (!tile.see_whole_block) mask(start, tile.rows.begin + r, columns, row_scores);
      tops[r] = highest_of(row_scores, columns);
    }
    states.meet(tile.rows.begin, tops);
    for (size_t r = 0; r < tile.count(); ++r) states.join_weights(tile.rows.begin + r, weigh(r, tops[r]));
  }

  // A query times the job's scale and log2(e), since weights are powers of two; zeros after it.
  void load_query(size_t row, float* out) const {
    constexpr float kLog2E = 0x1.715476p+0f;
    const float scale = job_.scale * kLog2E;
    const float* source = job_.queries + row / job_.heads * job_.query_stride + row % job_.heads * job_.head_dim;
    for (size_t d = 0; d < job_.head_dim; ++d) out[d] = source[d] * scale;
    for (size_t d = job_.head_dim; d < width_; ++d) out[d] = 0.0f;
  }

  const uint8_t* page(const CachedRows& from, size_t position) const { return from.pages[position / kPagePositions]; }
  const uint8_t* address(const CachedRows& from, size_t position) const {
    return page(from, position) + from.page_offset + position % kPagePositions * from.row_bytes;
  }
  const float* peaks(const CachedRows& from, size_t position) const {
    return reinterpret_cast<const float*>(page(from, position) + from.peaks_offset) + position % kPagePositions;
  }

  // Whether rows are elements that vectors can be loaded from.
  bool holds(Type type) const { return job_.type == type && width_ == job_.head_dim; }

  // Any others, as floats with zeros after them.
  void decode(const CachedRows& from, size_t start, size_t count, float* out) const {
    const uint8_t* rows = address(from, start);
    if (width_ == job_.head_dim) return job_.decode(rows, count * job_.blocks_per_row, out);
    std::memset(out, 0, count * width_ * sizeof(float));
    for (size_t i = 0; i < count; ++i) job_.decode(rows + i * from.row_bytes, job_.blocks_per_row, out + i * width_);
  }

  Prefetch block_after(size_t start) const {
    const size_t next = start + kKeys;
    if (next >= cached()) return {nullptr, nullptr, 0};
    return {address(job_.keys, next), address(job_.values, next), kKeys * job_.keys.row_bytes};
  }

 private:
  // Scores that a row does not see become -infinity.
  void mask(size_t start, size_t row, size_t columns, float* scores) const {
    const Interval seen = visible_in(start, row);
    for (size_t j = 0; j < smaller(seen.begin, columns); ++j) scores[j] = -__builtin_inff();
    for (size_t j = seen.end; j < columns; ++j) scores[j] = -__builtin_inff();
  }

  const AttentionJob& job_;
  size_t width_, count_;
};

PHIGGUF_END_ISA
