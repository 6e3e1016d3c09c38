// attention_blocked: softmax attention whose scores never leave the caches.
//
//   x [rows, tokens, 3 * heads * head_width] -> y [rows, tokens, heads *
//   head_width], or [tokens of all rows, ..] of both where rows are sequences
//   of any length; one head of one row at a time:
// 1. Keys are transposed and values copied into panels of a tile's columns: a
//    token's row of x is some KB away from the next, which would fill few sets
//    of L1.
// 2. For a block of queries, scores [block, tokens] = scale * q.k^T in register
//    tiles, a panel of keys at a time.
// 3. Softmax of the block's rows: their maximum, exp of what is below it, and
//    1 / sum, which waits for step 4. A mask becomes a vector of what it adds
//    to the scores, once per row, which joins them as the maximum is found.
// 4. y = scores.v / sum in the same register tiles.
// Causal: what lies beyond a tile's last query is not computed. Tokens that are
// left out inside a tile have a score of -infinity, hence a factor of zero.
//
// Work is split by the FLOPs of rows and heads: a head of a row goes to the
// thread in whose even share of all FLOPs its middle lies. Memory is that of a
// row's length. A row's y is the same bits in every batch. A head takes 4 *
// tokens^2 * head_width FLOPs and one exp per pair of tokens.
//
// One thread of a Zen 3 (AVX2), us per row of the batch; GFLOP/s count the two
// products (causal: the half that is used), the time all steps. Beside it the
// two products alone by oneDNN 2.6.3's sgemm, and with a softmax by std::exp:
//
//   tokens x heads x head_width   this              sgemm   with softmax
//   128 x 12 x 64                 743, 68 GFLOP/s   578     2,270
//   128 x 12 x 64, causal         513, 49 GFLOP/s   568     2,150
//   65 x 8 x 64                   169, 51 GFLOP/s   128     391
//   197 x 3 x 64                  441, 68 GFLOP/s   326     1,260
//   1,024 x 4 x 64                14,800, 73        12,600  45,900
//   16 x 8 x 16                   5.1, 26 GFLOP/s   7.7     22
//
// Of 128 tokens' time the products take 70 %, softmax 15 % and packing 8 %. A
// mask of which every fourth says 0 adds 0 to 2 %.
//
// Sequences of any length, us per batch of 12 heads of 64, on a busier machine:
// a row of 128 tokens took 790 then, with a mask 800.
//
//   lengths            this    with a mask
//   24, 17, 9, 2, 1    98      100
//   8 of 128           7,750   7,790
#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "server/engine/cpu/attention_heads.h"
#include "server/engine/kernel_list.h"
#include "server/graph/op.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/engine/cpu/attention_blocked.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "server/engine/cpu/activation-inl.h"
#include "server/engine/cpu/panel_product-inl.h"

#ifndef FFF_ENGINE_CPU_ATTENTION_BLOCKED_ONCE
#define FFF_ENGINE_CPU_ATTENTION_BLOCKED_ONCE
namespace fff::engine {

// The whole batch; tokens are counted through its rows.
struct AttentionArgs {
  const graph::AttentionProblem* problem;
  int64_t score_floats;  // of a block, about
  const float* x;        // [tokens, 3 * problem->width()]
  const int32_t* mask;   // [tokens] or null
  float* y;              // [tokens, problem->width()]
};

}  // namespace fff::engine
#endif

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

// One head of one row of the batch, packed.
struct AttentionHead {
  const graph::AttentionProblem* problem;
  int64_t tokens;
  const float* q;    // [tokens, head_width], every x_stride floats
  const float* k;    // as q
  const float* v;    // as q
  int64_t x_stride;  // from token to token
  float* y;          // [tokens, head_width], every problem->width() floats
  float* keys;       // panels of [head_width, tokens]
  float* values;     // panels of [tokens, head_width]
  int64_t block;     // queries
  int64_t stride;    // of a query's scores: tokens in whole vectors
  float* scores;     // [block, stride]
  float* factors;    // [block], of one step
  // [stride], what the mask adds to each key's scores; null where all count
  // alike.
  const float* bias;
};

// Tokens [first, first + count) of the keys, columns of a panel `width` wide;
// zeros after the last.
HWY_INLINE void PackKeyPanel(const AttentionHead& head, int64_t first,
                             int64_t width) {
  const int64_t terms = head.problem->head_width;
  const int64_t count = std::min(width, head.tokens - first);
  float* to = head.keys + first * terms;
  const float* from = head.k + first * head.x_stride;
  int64_t t = 0;
  for (; t + 4 <= count; t += 4) {
    const float* rows = from + t * head.x_stride;
    int64_t c = 0;
    for (; c + 4 <= terms; c += 4) {
      Transpose4(rows + c, head.x_stride, to + c * width + t, width);
    }
    for (; c < terms; ++c) {
      for (int64_t i = 0; i < 4; ++i) {
        to[c * width + t + i] = rows[i * head.x_stride + c];
      }
    }
  }
  for (; t < width; ++t) {
    for (int64_t c = 0; c < terms; ++c) {
      to[c * width + t] = t < count ? from[t * head.x_stride + c] : 0.0f;
    }
  }
}

HWY_INLINE void PackValues(const AttentionHead& head) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t tokens = head.tokens;
  const int64_t columns = head.problem->head_width;
  for (int64_t t = 0; t < tokens; ++t) {
    const float* from = head.v + t * head.x_stride;
    for (int64_t col = 0; col < columns;) {
      const int64_t width = PanelWidth(columns, col);
      float* to = head.values + col * tokens + t * width;
      for (int64_t c = 0; c < width; c += lanes) {
        hn::StoreU(LoadColumns(from + col + c, columns - col - c), d, to + c);
      }
      col += width;
    }
  }
}

HWY_INLINE void Pack(const AttentionHead& head) {
  const int64_t tokens = head.tokens;
  for (int64_t t = 0; t < tokens;) {
    const int64_t width = PanelWidth(tokens, t);
    PackKeyPanel(head, t, width);
    t += width;
  }
  PackValues(head);
}

// A vector of scores; with a bias it is added to them in place.
template <bool kBiased>
HWY_INLINE V Biased(const float* bias, float* s, int64_t i) {
  const D d;
  V v = hn::LoadU(d, s + i);
  if constexpr (kBiased) {
    v = hn::Add(v, hn::LoadU(d, bias + i));
    hn::StoreU(v, d, s + i);
  }
  return v;
}

template <bool kBiased>
HWY_INLINE V GreatestOf(const float* bias, float* s, int64_t count) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  V a = Biased<kBiased>(bias, s, 0);
  V b = a;
  V c = a;
  V e = a;
  int64_t i = lanes;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    a = hn::Max(a, Biased<kBiased>(bias, s, i));
    b = hn::Max(b, Biased<kBiased>(bias, s, i + lanes));
    c = hn::Max(c, Biased<kBiased>(bias, s, i + 2 * lanes));
    e = hn::Max(e, Biased<kBiased>(bias, s, i + 3 * lanes));
  }
  for (; i < count; i += lanes) a = hn::Max(a, Biased<kBiased>(bias, s, i));
  return hn::MaxOfLanes(d, hn::Max(hn::Max(a, b), hn::Max(c, e)));
}

// The scores s of one query become exp(s - their maximum), zero where a token
// is left out; returns 1 / sum. An infinite maximum gives NaN, as does a NaN.
HWY_INLINE float Softmax(const AttentionHead& head, int64_t query, float* s) {
  constexpr float kLeftOut = -std::numeric_limits<float>::infinity();
  // Exp of what is below is 0 in float. To compute it underflows, some 25
  // cycles per vector (Zen 3): with every fourth of 128 tokens masked, 25 % of
  // the time of attention.
  constexpr float kGoneBelow = -104;
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const graph::AttentionProblem& p = *head.problem;
  const int64_t keys = p.causal ? query + 1 : head.tokens;
  const int64_t whole = InWholeVectors(keys);
  if (p.exclude_self && keys > 1) s[query] = kLeftOut;
  std::fill(s + keys, s + whole, kLeftOut);
  const V greatest = head.bias == nullptr
                         ? GreatestOf<false>(nullptr, s, whole)
                         : GreatestOf<true>(head.bias, s, whole);
  const V gone_below = hn::Set(d, kGoneBelow);
  V sum = hn::Zero(d);
  for (int64_t i = 0; i < whole; i += lanes) {
    const V below = hn::Sub(hn::LoadU(d, s + i), greatest);
    const auto gone = hn::Lt(below, gone_below);
    const V exp = ExpOfNegative(d, hn::IfThenZeroElse(gone, below));
    const V e =
        hn::IfThenElse(hn::Eq(below, below), hn::IfThenZeroElse(gone, exp),
                       below);  // NaN stays
    hn::StoreU(e, d, s + i);
    sum = hn::Add(sum, e);
  }
  // What a causal tile reads beyond the diagonal.
  const int64_t read = std::min(head.stride, keys + kPanelRows);
  if (whole < read) std::fill(s + whole, s + read, 0.0f);
  return 1 / hn::GetLane(hn::SumOfLanes(d, sum));
}

HWY_INLINE void AttendBlock(const AttentionHead& head, int64_t first) {
  const graph::AttentionProblem& p = *head.problem;
  const int64_t queries = std::min(head.block, head.tokens - first);
  // Keys that a tile of queries from `row` on may meet.
  const auto keys_of = [&](int64_t row) {
    return p.causal ? std::min(head.tokens, first + row + kPanelRows)
                    : head.tokens;
  };
  std::fill(head.factors, head.factors + queries, p.scale);
  MultiplyPanels(
      {queries, head.stride, p.head_width, head.q + first * head.x_stride,
       head.x_stride, head.keys, head.factors, head.scores, head.stride},
      [&](int64_t row, int64_t col) {
        return col < keys_of(row) ? p.head_width : 0;
      });
  for (int64_t i = 0; i < queries; ++i) {
    head.factors[i] = Softmax(head, first + i, head.scores + i * head.stride);
  }
  MultiplyPanels(
      {queries, p.head_width, head.tokens, head.scores, head.stride,
       head.values, head.factors, head.y + first * p.width(), p.width()},
      [&](int64_t row, int64_t) { return keys_of(row); });
}

// bias [tokens in whole vectors], zeros after the last. False where all tokens
// count alike: nothing is to be added.
HWY_INLINE bool BiasOf(const graph::AttentionProblem& p, const int32_t* mask,
                       int64_t tokens, float* bias) {
  bool some = false;
  bool all = true;
  for (int64_t t = 0; t < tokens; ++t) {
    const bool counts = mask[t] != 0;
    bias[t] = counts ? 0.0f : p.mask_value;
    some |= counts;
    all &= counts;
  }
  std::fill(bias + tokens, bias + InWholeVectors(tokens), 0.0f);
  return some && !all;
}

void AttendHeads(const AttentionArgs& args, const HeadsOfRow& heads,
                 Workspace& workspace) {
  const graph::AttentionProblem& p = *args.problem;
  const int64_t width = p.head_width;
  ScratchScope scratch(workspace);
  AttentionHead head = {};
  head.problem = &p;
  head.tokens = heads.tokens;
  head.x_stride = 3 * p.width();
  head.stride = InWholeVectors(heads.tokens);
  head.block = std::min(
      heads.tokens,
      std::max<int64_t>(args.score_floats / head.stride / kPanelRows, 1) *
          kPanelRows);
  head.keys = scratch.Floats(width * head.stride);
  head.values = scratch.Floats(heads.tokens * InWholeVectors(width));
  head.scores = scratch.Floats(head.block * head.stride);
  head.factors = scratch.Floats(head.block);
  if (args.mask != nullptr) {
    float* const bias = scratch.Floats(head.stride);
    if (BiasOf(p, args.mask + heads.first, heads.tokens, bias)) {
      head.bias = bias;
    }
  }
  const bool by_heads = p.layout == graph::AttentionProblem::Layout::kHeads;
  const int64_t step = by_heads ? width : p.width();  // from q to k to v
  for (int64_t h = heads.begin; h < heads.end; ++h) {
    head.q =
        args.x + heads.first * head.x_stride + h * width * (by_heads ? 3 : 1);
    head.k = head.q + step;
    head.v = head.k + step;
    head.y = args.y + heads.first * p.width() + h * width;
    Pack(head);
    for (int64_t first = 0; first < heads.tokens; first += head.block) {
      AttendBlock(head, first);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fff::engine {

HWY_EXPORT(AttendHeads);

namespace {

// Zen 3: blocks of 12, 24, 48 and 96 KB of scores take the same time within
// 6 %, for 65 to 197 tokens.
constexpr int64_t kScoreFloats = (24 << 10) / 4;
// FLOPs that a thread takes at least, some us; below this the hand-over costs
// more.
constexpr int64_t kGrainFlops = 200000;

class AttentionBlockedKernel : public Kernel {
 public:
  explicit AttentionBlockedKernel(
      std::shared_ptr<const graph::AttentionWeights> weights)
      : weights_(std::move(weights)) {}

  absl::string_view name() const override { return "attention_blocked"; }

  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink&,
             ExecutionContext& context) const override {
    const graph::AttentionProblem& p = weights_->problem;
    const AttentionHeads heads(p, in);
    if (heads.count() == 0) return;
    const AttentionArgs args = {
        &p, kScoreFloats, in[0].floats().data,
        p.masked ? static_cast<const int32_t*>(in[1].data) : nullptr, y.data};
    // No more threads than heads.
    const int64_t grain = std::max(kGrainFlops, heads.flops() / heads.count());
    context.ParallelFor(
        heads.flops(), grain, [&](int64_t begin, int64_t end, int thread) {
          heads.ForEach(begin, end, [&](const HeadsOfRow& of_row) {
            HWY_DYNAMIC_DISPATCH(AttendHeads)
            (args, of_row, context.workspace(thread));
          });
        });
  }

 private:
  std::shared_ptr<const graph::AttentionWeights> weights_;
};

bool Supports(const graph::AttentionProblem&) { return true; }

// us on one Zen 3 thread: 1.3e-5 (128 tokens, 12 heads of 64) to 1.7e-5 (65
// tokens, 8 heads of 64) per operation, those of softmax counted as 8 columns.
// Of sequences of any length, `rows` are tokens.
double Cost(const graph::AttentionProblem& p, int64_t rows) {
  const int64_t tokens = p.tokens > 0 ? p.tokens : graph::kNominalTokens;
  const int64_t flops = FlopsOfHead(p, tokens) / (p.tokens > 0 ? 1 : tokens);
  return 1.5e-5 * static_cast<double>(rows * p.heads * flops);
}

std::unique_ptr<Kernel> Make(
    std::shared_ptr<const graph::AttentionWeights> weights) {
  return std::make_unique<AttentionBlockedKernel>(std::move(weights));
}

}  // namespace

template <>
KernelsFor<graph::Attention> KernelsOf<graph::Attention>() {
  static const KernelEntry<graph::AttentionWeights> kEntry = {
      "attention_blocked", false, Supports, Cost, Make};
  return {&kEntry, 1};
}

}  // namespace fff::engine
#endif  // HWY_ONCE
