// softmax(scale * q k^T) v over cached keys and values, with the softmax carried along ("online").
//
// Keys are visited in blocks of kKeys positions and spans of kSpanPositions, which begin at multiples of their
// length, and a query's result depends on its own visible positions alone: neither how a prompt was cut into pieces
// nor the cache's size shows in it. Scores s_j are in units of log 2. A block gives, of the positions that a query
// sees,
//   m' = max_j s_j       l'_p = sum of 2^(s_j - m'), position j in sum j % 16       o' = sum of 2^(s_j - m') v_j
// which is joined to what came before, from m = -infinity, l = o = 0 in each span,
//   m'' = max(m, m')     (l, o) = fma((l', o'), 2^(m' - m''), (l, o) * 2^(m - m''))
// and so are spans, in order. The output is o / (tree sum of l), never minus zero.
//
// attention_floats.h and attention_codes.h say what the products are.
#pragma once

#include "kernels/attention_codes.h"
#include "kernels/attention_floats.h"

PHIGGUF_BEGIN_ISA

// The queries of a job against one block of keys after another.
template <class Blocks>
class Attention {
 public:
  explicit Attention(const AttentionJob& job) : rows_(job), blocks_(rows_, job.scratch) {}

  void attend() const {
    float* part = rows_.job().scratch + Blocks::scratch_floats(rows_);
    const RowStates span_states = states(part), total = states(part + rows_.part_floats());
    total.clear();
    for (size_t span = rows_.visible(0).begin / kSpanPositions; span * kSpanPositions < rows_.cached(); ++span) {
      attend_span(span, part);
      total.join(span_states);
    }
    finish(total);
  }

  void attend_span(size_t span, float* part) const {
    const RowStates span_states = states(part);
    span_states.clear();
    const size_t first = rows_.visible(0).begin / kKeys * kKeys, begin = span * kSpanPositions;
    const size_t end = smaller(begin + kSpanPositions, rows_.cached());
    for (size_t start = larger(begin, first); start < end; start += kKeys) blocks_.attend(start, span_states);
  }

  void join_spans(float* parts, size_t spans) const {
    for (size_t span = 1; span < spans; ++span) states(parts).join(states(parts + span * rows_.part_floats()));
    finish(states(parts));
  }

 private:
  RowStates states(float* part) const { return {part, rows_.count(), rows_.width()}; }
  void finish(const RowStates& total) const {
    const AttentionJob& job = rows_.job();
    for (size_t row = 0; row < rows_.count(); ++row) {
      const size_t t = row / job.heads, h = row % job.heads;
      total.finish(row, job.out + t * job.out_stride + h * job.head_dim, job.head_dim);
    }
  }

  AttentionRows rows_;
  Blocks blocks_;
};

template <class Chosen>
struct Kind {
  using Blocks = Chosen;
};

// Calls use with the kind of products that a job takes.
template <class Use>
inline auto with_kind(const AttentionJob& job, const Use& use) {
  if (!attention_takes_codes(job.type, job.head_dim)) return use(Kind<FloatBlocks>());
  if constexpr (kHasTiles) {
    if (job.tokens * job.heads > PairProducts::kRows) return use(Kind<CodeBlocks<PlaneProducts<kTileTokens>>>());
  }
  return use(Kind<CodeBlocks<PairProducts>>());
}
template <class Use>
inline void with_attention(const AttentionJob& job, const Use& use) {
  with_kind(job, [&](auto kind) { use(Attention<typename decltype(kind)::Blocks>(job)); });
}

inline size_t attention_part(const AttentionJob& job) { return AttentionRows(job).part_floats(); }
inline size_t attention_scratch(const AttentionJob& job) {
  const AttentionRows rows(job);
  return 2 * rows.part_floats() +
         with_kind(job, [&](auto kind) { return decltype(kind)::Blocks::scratch_floats(rows); });
}
inline void attend(const AttentionJob& job) {
  with_attention(job, [](const auto& attention) { attention.attend(); });
}
inline void attend_span(const AttentionJob& job, size_t span, float* part) {
  with_attention(job, [&](const auto& attention) { attention.attend_span(span, part); });
}
inline void join_spans(const AttentionJob& job, float* parts, size_t spans) {
  with_attention(job, [&](const auto& attention) { attention.join_spans(parts, spans); });
}

PHIGGUF_END_ISA
