#pragma once

#include <algorithm>
#include <cstdint>

#include "server/engine/cpu/token_rows.h"
#include "server/graph/sequence_ops.h"

// How the heads of a batch's rows are shared between threads.
namespace fff::engine {

// Heads [begin, end) of one row; tokens are counted through the batch.
struct HeadsOfRow {
  int64_t first;  // the row's first token
  int64_t tokens;
  int64_t begin;
  int64_t end;
};

// Of one head of one row; exps and all else of a softmax cost about as much as
// 8 columns more.
inline int64_t FlopsOfHead(const graph::AttentionProblem& p, int64_t tokens) {
  return 4 * tokens * tokens * (p.head_width + 8);
}

// A thread has an even share [begin, end) of the FLOPs of all heads and takes
// the heads whose middle lies there, so it has half a head more at most.
class AttentionHeads {
 public:
  AttentionHeads(const graph::AttentionProblem& problem, const KernelInputs& in)
      : problem_(problem), rows_(problem.tokens, in) {
    for (int64_t r = 0; r < rows_.rows(); ++r) {
      flops_ += problem_.heads * FlopsOf(r);
    }
  }

  int64_t count() const { return rows_.rows() * problem_.heads; }
  int64_t flops() const { return flops_; }
  // body(heads) for each row that has some of them.
  template <class Body>
  void ForEach(int64_t begin, int64_t end, const Body& body) const {
    int64_t before = 0;  // FLOPs
    for (int64_t r = 0; r < rows_.rows() && before < end; ++r) {
      const int64_t flops = FlopsOf(r);
      const HeadsOfRow heads = {rows_.Begin(r), rows_.Length(r),
                                HeadsUpTo(begin - before, flops),
                                HeadsUpTo(end - before, flops)};
      if (heads.begin < heads.end) body(heads);
      before += problem_.heads * flops;
    }
  }

 private:
  int64_t FlopsOf(int64_t row) const {
    return FlopsOfHead(problem_, rows_.Length(row));
  }
  // How many of a row's heads have their middle at `at` or before.
  int64_t HeadsUpTo(int64_t at, int64_t flops) const {
    return std::clamp<int64_t>((at + flops / 2) / flops, 0, problem_.heads);
  }

  const graph::AttentionProblem& problem_;
  const TokenRows rows_;
  int64_t flops_ = 0;
};

}  // namespace fff::engine
