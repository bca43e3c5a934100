#include "ops/attention.h"

#include <algorithm>
#include <vector>

#include "base/scratch.h"
#include "base/thread_pool.h"
#include "dispatch/dispatch.h"

namespace phigguf {
namespace {

// Attention divided into what threads take turns at: one key-value head's queries for some tokens; and where these
// are few, each span of positions by itself.
class AttentionShares {
 public:
  AttentionShares(const CachedLayer& cache, const AttendTask& task, size_t first_position)
      : cache_(cache),
        page_(cache.page),
        task_(task),
        first_position_(first_position),
        group_(task.heads / cache.page.kv_heads),
        tokens_(std::max<size_t>(1, kRows / group_)),
        chunks_((task.tokens + tokens_ - 1) / tokens_) {}

  void run() const {
    const size_t end = first_position_ + task_.tokens, window = cache_.window;
    const size_t first = window != 0 && first_position_ + 1 > window ? first_position_ + 1 - window : 0;
    const size_t first_span = first / kSpanPositions, last_span = (end - 1) / kSpanPositions;
    const size_t shares = chunks_ * page_.kv_heads;
    if (first_span == last_span || shares >= kSharesPerThread * static_cast<size_t>(num_threads())) {
      parallel_for(shares, 0, [&](size_t i) { kernels().attend(job(i)); });
    } else {
      run_by_spans(shares, first_span, last_span - first_span + 1);
    }
  }

 private:
  static constexpr size_t kRows = 192;  // queries that share the reading of keys and values
  static constexpr size_t kSharesPerThread = 4;

  void run_by_spans(size_t shares, size_t first_span, size_t spans) const {
    const size_t room = spans * kernels().attention_part(job(0));  // no share has more tokens than the first
    std::vector<float> parts(shares * room);
    parallel_for(shares * spans, 0, [&](size_t i) {
      const size_t share = i / spans, span = i % spans;
      const AttentionJob one = job(share);
      kernels().attend_span(one, first_span + span, &parts[share * room + span * kernels().attention_part(one)]);
    });
    parallel_for(shares, 0, [&](size_t share) { kernels().join_spans(job(share), &parts[share * room], spans); });
  }

  AttentionJob job(size_t share) const {
    const KernelTable& table = kernels();
    const size_t kv_head = share / chunks_, first = share % chunks_ * tokens_;
    const size_t column = kv_head * group_ * page_.head_dim;
    AttentionJob job{};
    job.query_stride = (task_.heads + 2 * page_.kv_heads) * page_.head_dim;
    job.queries = task_.qkv + first * job.query_stride + column;
    job.out_stride = task_.heads * page_.head_dim;
    job.out = task_.out + first * job.out_stride + column;
    job.tokens = std::min(tokens_, task_.tokens - first);
    job.first_position = first_position_ + first;
    job.heads = group_;
    job.head_dim = page_.head_dim;
    job.window = cache_.window;
    job.scale = task_.scale;
    job.keys = page_.rows(cache_.pages, kv_head);
    job.values = page_.rows(cache_.pages, page_.kv_heads + kv_head);
    job.type = page_.type;
    job.blocks_per_row = page_.blocks_per_row();
    job.decode = table.decode[static_cast<int>(page_.type)];
    thread_local Scratch<float> scratch;
    job.scratch = scratch.reserve(table.attention_scratch(job));
    return job;
  }

  const CachedLayer& cache_;
  const CachePage& page_;
  const AttendTask& task_;
  size_t first_position_, group_, tokens_, chunks_;
};

}  // namespace

void attend(const CachedLayer& cache, const AttendTask& task, size_t first_position) {
  if (task.tokens > 0) AttentionShares(cache, task, first_position).run();
}

}  // namespace phigguf
