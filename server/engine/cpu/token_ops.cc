// rearrange_rows, pool_tokens: what moves and gathers the elements of a row.
//
// rearrange_rows: y[i] = x[index[i]] + addend[i], x [rows, input_width] ->
//   y [rows, output_width]. Stretches of consecutive indices, found when the
//   kernel is made, are copied as one; a table of short stretches is followed
//   element by element.
// pool_tokens: y[c] = mean, maximum or logsumexp of x[t, c] over t, or the
//   first token, x [rows, tokens * width] or [tokens of all rows, width] -> y
//   [rows, width]. Four vectors of columns at a time go over all tokens, for
//   logsumexp twice: log(sum of exp(x - maximum)) + maximum, so that nothing
//   overflows. With a mask they go over a list of the tokens that count.
//
// Work is split by rows, for pool_tokens by their tokens. Each element is read
// once, for logsumexp twice. 65 tokens of 512 take 1.6 us (mean), 2.0 us
// (maximum) and 19 us (logsumexp) per row on one thread of a Zen 3 (AVX2), with
// a mask of which every fourth says 0 no longer.
#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "server/engine/cpu/row_kernel.h"
#include "server/engine/cpu/token_rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/engine/cpu/token_ops.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/contrib/math/math-inl.h"
#include "server/engine/cpu/activation-inl.h"

#ifndef FFF_ENGINE_CPU_TOKEN_OPS_ONCE
#define FFF_ENGINE_CPU_TOKEN_OPS_ONCE
namespace fff::engine {

// The tokens of one row that count.
struct PooledTokens {
  const float* x;         // the row's first token
  int64_t count;          // at least one
  const int32_t* picked;  // [count], their places in the row; null: all
};

}  // namespace fff::engine
#endif

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

void AddAddend(const float* addend, const float* x, int64_t count, float* y) {
  ForEachVector(count, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(hn::Add(hn::LoadU(d, x + i), hn::LoadU(d, addend + i)), d,
               y + i);
  });
}

// kVectors vectors of columns of one row, the last of them of `part` lanes.
template <int kVectors, bool kPicked>
struct TokenColumns {
  const float* x;  // of the row's first token
  int64_t tokens;
  const int32_t* picked;
  int64_t width;
  size_t part;

  HWY_INLINE V At(int64_t token, int c) const {
    const D d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    const int64_t place = kPicked ? picked[token] : token;
    const float* from = x + place * width + c * lanes;
    return c + 1 < kVectors || part == hn::Lanes(d) ? hn::LoadU(d, from)
                                                    : LoadFirst(d, from, part);
  }
};

template <int kVectors, bool kPicked>
HWY_INLINE void MeanOf(const TokenColumns<kVectors, kPicked>& in,
                       V (&out)[kVectors]) {
  const D d;
  for (int c = 0; c < kVectors; ++c) out[c] = hn::Zero(d);
  for (int64_t t = 0; t < in.tokens; ++t) {
    for (int c = 0; c < kVectors; ++c) out[c] = hn::Add(out[c], in.At(t, c));
  }
  const V count = hn::Set(d, static_cast<float>(in.tokens));
  for (int c = 0; c < kVectors; ++c) out[c] = hn::Div(out[c], count);
}

// A NaN is greater than all else.
template <int kVectors, bool kPicked>
HWY_INLINE void MaximumOf(const TokenColumns<kVectors, kPicked>& in,
                          V (&out)[kVectors]) {
  for (int c = 0; c < kVectors; ++c) out[c] = in.At(0, c);
  for (int64_t t = 1; t < in.tokens; ++t) {
    for (int c = 0; c < kVectors; ++c) {
      const V v = in.At(t, c);
      const auto wins = hn::Or(hn::Gt(v, out[c]), hn::IsNaN(v));
      out[c] = hn::IfThenElse(wins, v, out[c]);
    }
  }
}

template <int kVectors, bool kPicked>
HWY_INLINE void LogSumExpOf(const TokenColumns<kVectors, kPicked>& in,
                            V (&out)[kVectors]) {
  const D d;
  const V infinity = hn::Set(d, std::numeric_limits<float>::infinity());
  MaximumOf(in, out);
  V sum[kVectors];
  for (int c = 0; c < kVectors; ++c) sum[c] = hn::Zero(d);
  for (int64_t t = 0; t < in.tokens; ++t) {
    for (int c = 0; c < kVectors; ++c) {
      const V below = hn::Sub(in.At(t, c), out[c]);
      sum[c] = hn::Add(sum[c], ExpOfNegative(d, below));
    }
  }
  for (int c = 0; c < kVectors; ++c) {
    // An infinite maximum is the result; its differences are not numbers.
    const V result = hn::Add(out[c], hn::Log(d, sum[c]));
    out[c] = hn::IfThenElse(hn::Lt(hn::Abs(out[c]), infinity), result, out[c]);
  }
}

template <int kVectors, bool kPicked>
HWY_INLINE void PoolColumns(graph::PoolTokensProblem::Over over,
                            const TokenColumns<kVectors, kPicked>& in,
                            float* y) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  V out[kVectors];
  if (over == graph::PoolTokensProblem::Over::kMean) {
    MeanOf(in, out);
  } else if (over == graph::PoolTokensProblem::Over::kMax) {
    MaximumOf(in, out);
  } else {
    LogSumExpOf(in, out);
  }
  for (int c = 0; c + 1 < kVectors; ++c) {
    hn::StoreU(out[c], d, y + c * lanes);
  }
  constexpr int kLast = kVectors - 1;
  if (in.part == hn::Lanes(d)) {
    hn::StoreU(out[kLast], d, y + kLast * lanes);
  } else {
    StoreFirst(out[kLast], d, y + kLast * lanes, in.part);
  }
}

template <bool kPicked>
HWY_INLINE void PoolAllColumns(const graph::PoolTokensProblem& p,
                               const PooledTokens& in, float* y) {
  constexpr int kVectors = 4;
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  const int64_t width = p.output_width;
  int64_t col = 0;
  for (; col + kVectors * lanes <= width; col += kVectors * lanes) {
    PoolColumns<kVectors, kPicked>(
        p.over,
        {in.x + col, in.count, in.picked, width, static_cast<size_t>(lanes)},
        y + col);
  }
  for (; col < width; col += lanes) {
    const auto part = static_cast<size_t>(std::min(lanes, width - col));
    PoolColumns<1, kPicked>(
        p.over, {in.x + col, in.count, in.picked, width, part}, y + col);
  }
}

void PoolRow(const graph::PoolTokensProblem& p, const PooledTokens& in,
             float* y) {
  if (in.picked == nullptr) {
    PoolAllColumns<false>(p, in, y);
  } else {
    PoolAllColumns<true>(p, in, y);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fff::engine {

HWY_EXPORT(AddAddend);
HWY_EXPORT(PoolRow);

namespace {

// Output elements that come from one stretch of a row of x, or are all zeros.
struct Stretch {
  int64_t from;  // -1: zeros
  int64_t count;
};

// Shorter stretches than this on average are followed element by element. Zen
// 3, us per 65,536 elements by stretches of 1, 2, 4, 8, 16 and 48: 250, 126,
// 62, 26, 13 and 7.5; element by element: 47 to 59.
constexpr size_t kStretchMin = 8;

std::vector<Stretch> StretchesOf(const std::vector<int32_t>& index) {
  std::vector<Stretch> stretches;
  for (const int32_t from : index) {
    if (!stretches.empty()) {
      Stretch& last = stretches.back();
      if (from < 0 ? last.from < 0
                   : last.from >= 0 && from == last.from + last.count) {
        ++last.count;
        continue;
      }
    }
    stretches.push_back({from, 1});
  }
  if (stretches.size() * kStretchMin > index.size()) stretches.clear();
  stretches.shrink_to_fit();
  return stretches;
}

class RearrangeRowsKernel : public RowKernel<graph::RearrangeWeights> {
 public:
  explicit RearrangeRowsKernel(
      std::shared_ptr<const graph::RearrangeWeights> weights)
      : RowKernel(std::move(weights)),
        stretches_(StretchesOf(weights_->index)) {}

  absl::string_view name() const override { return "rearrange_rows"; }
  std::vector<PackedCopy> packed() const override {
    return {{this, static_cast<int64_t>(stretches_.size() * sizeof(Stretch))}};
  }

  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink&,
             ExecutionContext& context) const override {
    const tensor::ConstRows x = in[0].floats();
    const int64_t grain =
        std::max<int64_t>(1, kGrainFloats / std::max<int64_t>(1, y.width));
    context.ParallelFor(y.rows, grain, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r) MoveRow(x.row(r), y.row(r));
    });
  }

 private:
  void MoveRow(const float* x, float* y) const {
    const int64_t width = weights_->problem.output_width;
    const bool moves = weights_->problem.moves;
    if (!stretches_.empty()) {
      CopyStretches(x, y);
    } else if (moves) {
      for (int64_t i = 0; i < width; ++i) {
        const int32_t from = weights_->index[static_cast<size_t>(i)];
        y[i] = from < 0 ? 0.0f : x[from];
      }
    } else if (!weights_->problem.adds) {
      std::copy(x, x + width, y);
    }
    if (weights_->problem.adds) {
      HWY_DYNAMIC_DISPATCH(AddAddend)
      (weights_->addend.data(), moves ? y : x, width, y);
    }
  }

  void CopyStretches(const float* x, float* y) const {
    for (const Stretch& stretch : stretches_) {
      const size_t bytes = static_cast<size_t>(stretch.count) * sizeof(float);
      if (stretch.from < 0) {
        std::memset(y, 0, bytes);
      } else {
        std::memcpy(y, x + stretch.from, bytes);
      }
      y += stretch.count;
    }
  }

  // In the order of y; empty: follow the index.
  const std::vector<Stretch> stretches_;
};

// The tokens of which `mask` says 1, all where it says so of none, the first of
// them for kFirst; their list is written to `picked` [count].
PooledTokens TokensThatCount(const graph::PoolTokensProblem& p, const float* x,
                             int64_t count, const int32_t* mask,
                             int32_t* picked) {
  int64_t found = 0;
  for (int64_t t = 0; t < count && mask != nullptr; ++t) {
    picked[found] = static_cast<int32_t>(t);
    found += mask[t] != 0 ? 1 : 0;
  }
  if (p.over == graph::PoolTokensProblem::Over::kFirst) {
    return {x + (found > 0 ? picked[0] : 0) * p.output_width, 1, nullptr};
  }
  if (found == 0 || found == count) return {x, count, nullptr};
  return {x, found, picked};
}

class PoolTokensRowsKernel : public RowKernel<graph::PoolTokensWeights> {
 public:
  using RowKernel::RowKernel;
  absl::string_view name() const override { return "pool_tokens"; }
  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink&,
             ExecutionContext& context) const override {
    const graph::PoolTokensProblem& p = weights_->problem;
    const TokenRows rows(p.tokens, in);
    if (rows.rows() == 0) return;
    const float* const x = in[0].floats().data;
    const auto* const mask =
        p.masked ? static_cast<const int32_t*>(in[1].data) : nullptr;
    // No more threads than rows.
    const int64_t grain = std::max(kGrainFloats / std::max<int64_t>(1, y.width),
                                   rows.tokens() / rows.rows());
    const auto pool = [&](int64_t begin, int64_t end, int thread) {
      const int64_t last = rows.FirstFrom(end);
      for (int64_t r = rows.FirstFrom(begin); r < last; ++r) {
        ScratchScope scratch(context.workspace(thread));
        const int64_t first = rows.Begin(r);
        const int64_t count = rows.Length(r);
        const bool picks = mask != nullptr;
        const PooledTokens tokens = TokensThatCount(
            p, x + first * y.width, count, picks ? mask + first : nullptr,
            picks ? scratch.Ints(count) : nullptr);
        if (p.over == graph::PoolTokensProblem::Over::kFirst) {
          std::copy_n(tokens.x, y.width, y.row(r));
        } else {
          HWY_DYNAMIC_DISPATCH(PoolRow)(p, tokens, y.row(r));
        }
      }
    };
    context.ParallelFor(rows.tokens(), grain, pool);
  }
};

}  // namespace

template <>
KernelsFor<graph::Rearrange> KernelsOf<graph::Rearrange>() {
  return OnlyKernel<graph::Rearrange, RearrangeRowsKernel>("rearrange_rows");
}

template <>
KernelsFor<graph::PoolTokens> KernelsOf<graph::PoolTokens>() {
  return OnlyKernel<graph::PoolTokens, PoolTokensRowsKernel>("pool_tokens");
}

}  // namespace fff::engine
#endif  // HWY_ONCE
