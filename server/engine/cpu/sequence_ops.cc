// embedding_rows, positions_rows: what tables give to each token.
//
// embedding_rows: y[t] = table[id[t]], ids int32 [tokens, 1] -> y [tokens,
//   width]. A copy of a row of the table, which mostly comes from memory.
// positions_rows: y[t] = x[t] + table[place of t in its sequence], x and y
//   [tokens of all rows, width]; y may be x. What a thread has of a sequence is
//   one span of x and one of the table.
//
// Work is split by tokens, wherever sequences begin.
//
// One thread of a Zen 3 (AVX2), us per token of 768, 1,024 tokens at once:
//
//   embedding_rows, a table of 1,000 rows (in L3)   0.10
//   embedding_rows, a table of 30,522 rows          0.31
//   positions_rows                                  0.13
//
// For rows of a large table, a vector loop in place of memcpy takes 0.43;
// prefetching one, two or four rows ahead changes nothing beyond the noise.
#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "server/base/check.h"
#include "server/engine/cpu/row_kernel.h"
#include "server/engine/cpu/token_rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/engine/cpu/sequence_ops.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "server/engine/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

void AddPositions(const float* x, const float* table, int64_t count, float* y) {
  ForEachVector(count, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(hn::Add(hn::LoadU(d, x + i), hn::LoadU(d, table + i)), d, y + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fff::engine {

HWY_EXPORT(AddPositions);

namespace {

int64_t GrainOf(int64_t width) {
  return std::max<int64_t>(1, kGrainFloats / std::max<int64_t>(1, width));
}

class EmbeddingRowsKernel : public RowKernel<graph::EmbeddingWeights> {
 public:
  using RowKernel::RowKernel;
  absl::string_view name() const override { return "embedding_rows"; }
  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink&,
             ExecutionContext& context) const override {
    const auto* ids = static_cast<const int32_t*>(in[0].data);
    const int64_t width = weights_->problem.output_width;
    const float* const table = weights_->table.data();
    const size_t bytes = static_cast<size_t>(width) * sizeof(float);
    context.ParallelFor(
        y.rows, GrainOf(width), [&](int64_t begin, int64_t end, int) {
          for (int64_t t = begin; t < end; ++t) {
            FFF_DCHECK(ids[t] >= 0 && ids[t] < weights_->problem.count);
            std::memcpy(y.row(t), table + ids[t] * width, bytes);
          }
        });
  }
};

class PositionsRowsKernel : public RowKernel<graph::PositionsWeights> {
 public:
  using RowKernel::RowKernel;
  absl::string_view name() const override { return "positions_rows"; }
  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink&,
             ExecutionContext& context) const override {
    const tensor::ConstRows x = in[0].floats();
    const TokenRows rows(/*tokens=*/0, in);
    const float* const table = weights_->table.data();
    const auto add = [&](int64_t begin, int64_t end, int) {
      // The row of the token `begin`, which may have begun before.
      for (int64_t r = rows.FirstFrom(begin + 1) - 1; begin < end; ++r) {
        FFF_DCHECK(rows.Length(r) <= weights_->problem.count);
        const int64_t count =
            std::min(end, rows.Begin(r) + rows.Length(r)) - begin;
        HWY_DYNAMIC_DISPATCH(AddPositions)
        (x.row(begin), table + (begin - rows.Begin(r)) * x.width,
         count * x.width, y.row(begin));
        begin += count;
      }
    };
    context.ParallelFor(rows.tokens(), GrainOf(x.width), add);
  }
};

}  // namespace

template <>
KernelsFor<graph::Embedding> KernelsOf<graph::Embedding>() {
  return OnlyKernel<graph::Embedding, EmbeddingRowsKernel>("embedding_rows");
}

template <>
KernelsFor<graph::Positions> KernelsOf<graph::Positions>() {
  return OnlyKernel<graph::Positions, PositionsRowsKernel>("positions_rows");
}

}  // namespace fff::engine
#endif  // HWY_ONCE
