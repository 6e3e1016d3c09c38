// The attention kernels against double precision, on every instruction set.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/engine/kernel_list.h"
#include "server/engine/reference/bounds.h"
#include "tests/unit/engine/run_kernel.h"

namespace fff::engine {
namespace {

using Layout = graph::AttentionProblem::Layout;

graph::AttentionWeights Over(int64_t tokens, int64_t heads,
                             int64_t head_width) {
  graph::AttentionWeights weights;
  graph::AttentionProblem& p = weights.problem;
  p.tokens = tokens;
  p.heads = heads;
  p.head_width = head_width;
  p.input_width = 3 * tokens * p.width();
  p.output_width = tokens * p.width();
  p.scale = 1 / std::sqrt(static_cast<float>(head_width));
  return weights;
}

std::vector<float> Attend(const graph::AttentionWeights& weights,
                          const std::vector<float>& x, int64_t rows,
                          int threads = 1) {
  const auto kernel = KernelsOf<graph::Attention>()[0].make(
      std::make_shared<graph::AttentionWeights>(weights));
  return Compute(*kernel, {x}, rows, weights.problem.output_width, threads);
}

void ExpectWithinBound(const graph::AttentionWeights& weights,
                       const std::vector<float>& x, int64_t rows) {
  const std::vector<float> y = Attend(weights, x, rows, 2);
  for (int64_t row = 0; row < rows; ++row) {
    const std::vector<Bounded> wanted =
        AttentionOutputs(weights, RowOf(x, rows, row).data());
    const std::vector<float> got = RowOf(y, rows, row);
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_NEAR(got[i], wanted[i].value, wanted[i].bound)
          << weights.problem.ToString() << ", row " << row << " column " << i;
    }
  }
}

// All masks and layouts of a shape, by `body(weights)`.
template <class Body>
void ForEveryKind(graph::AttentionWeights weights, const Body& body) {
  for (const Layout layout : {Layout::kBlocks, Layout::kHeads}) {
    for (const bool causal : {false, true}) {
      for (const bool exclude_self : {false, true}) {
        weights.problem.layout = layout;
        weights.problem.causal = causal;
        weights.problem.exclude_self = exclude_self;
        body(weights);
      }
    }
  }
}

// A batch of sequences of any length.
struct Batched {
  graph::AttentionWeights weights;
  std::vector<int64_t> lengths;
  std::vector<float> x;
  std::vector<int32_t> mask;  // empty: absent

  int64_t width() const { return weights.problem.width(); }
  // Row `row` alone.
  Batched Row(size_t row) const {
    const int64_t first = StartsOf(lengths)[row];
    return {weights,
            {lengths[row]},
            TokensOf(x, first, lengths[row], 3 * width()),
            TokensOf(mask, first, lengths[row])};
  }
  std::vector<float> Attend(int threads = 1) const {
    const auto kernel = KernelsOf<graph::Attention>()[0].make(
        std::make_shared<graph::AttentionWeights>(weights));
    const int64_t tokens = StartsOf(lengths).back();
    const tensor::TypedRows in[] = {
        tensor::ConstRows{x.data(), tokens, 3 * width()}, IntsOf(mask, tokens)};
    return ComputeSequences(*kernel, {in, weights.problem.masked ? 2u : 1u},
                            lengths, tokens, width(), threads);
  }
};

// Rows of masks of every kind, one after the other, where there is a mask.
Batched Sequenced(graph::AttentionWeights weights,
                  const std::vector<int64_t>& lengths, float mask_value = 0) {
  graph::AttentionProblem& p = weights.problem;
  p.tokens = 0;
  p.input_width = 3 * p.width();
  p.output_width = p.width();
  p.masked = mask_value != 0;
  p.mask_value = mask_value;
  Batched batch = {std::move(weights), lengths, {}, {}};
  batch.x = Random(StartsOf(lengths).back() * 3 * batch.width(), 8);
  for (size_t row = 0; row < lengths.size() && mask_value != 0; ++row) {
    const auto mask = MaskOf(lengths[row], static_cast<int>(row % 5));
    batch.mask.insert(batch.mask.end(), mask.begin(), mask.end());
  }
  return batch;
}

void ExpectWithinBound(const Batched& batch) {
  const std::vector<float> y = batch.Attend(2);
  const std::vector<int64_t> starts = StartsOf(batch.lengths);
  for (size_t row = 0; row < batch.lengths.size(); ++row) {
    const Batched alone = batch.Row(row);
    const std::vector<Bounded> wanted = AttentionOutputs(
        batch.weights, alone.x.data(),
        {alone.lengths[0], alone.mask.empty() ? nullptr : alone.mask.data()});
    const std::vector<float> got =
        TokensOf(y, starts[row], alone.lengths[0], batch.width());
    ASSERT_EQ(got.size(), wanted.size());
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_LT(wanted[i].bound, 0.1);
      ASSERT_NEAR(got[i], wanted[i].value, wanted[i].bound)
          << batch.weights.problem.ToString() << ", row " << row << " column "
          << i;
    }
  }
}

using Attention = OnEveryTarget;

TEST_P(Attention, IsWithinTheBoundForEveryShape) {
  // tokens, heads, head_width: parts of vectors, of tiles and of blocks.
  const int64_t shapes[][3] = {{1, 1, 1},   {1, 3, 5},  {2, 1, 4},   {3, 2, 17},
                               {6, 1, 16},  {7, 3, 16}, {13, 1, 33}, {33, 4, 8},
                               {65, 2, 20}, {130, 1, 7}};
  for (const auto& shape : shapes) {
    ForEveryKind(Over(shape[0], shape[1], shape[2]),
                 [](const graph::AttentionWeights& weights) {
                   ExpectWithinBound(
                       weights, Random(2 * weights.problem.input_width, 1), 2);
                 });
  }
}

TEST_P(Attention, GoesOverManyTokensInBlocks) {
  graph::AttentionWeights weights = Over(300, 1, 12);
  ExpectWithinBound(weights, Random(weights.problem.input_width, 2), 1);
  weights.problem.causal = true;
  ExpectWithinBound(weights, Random(weights.problem.input_width, 3), 1);
}

TEST_P(Attention, OneTokenIsItsValue) {
  ForEveryKind(Over(1, 2, 19), [](const graph::AttentionWeights& weights) {
    const std::vector<float> x = Random(3 * 2 * 19, 4);
    const std::vector<float> y = Attend(weights, x, 1);
    const bool by_heads = weights.problem.layout == Layout::kHeads;
    for (size_t c = 0; c < 19; ++c) {
      EXPECT_EQ(y[c], x[(by_heads ? 38 : 76) + c]);
      EXPECT_EQ(y[19 + c], x[95 + c]);
    }
  });
}

TEST_P(Attention, LeavesOutWhatTheMasksSay) {
  // Values are 1, 2, 4, ..., all scores equal.
  graph::AttentionWeights weights = Over(4, 1, 1);
  const std::vector<float> x = {0, 0, 1, 0, 0, 2, 0, 0, 4, 0, 0, 8};
  const auto sums = [&](bool causal, bool exclude_self) {
    weights.problem.causal = causal;
    weights.problem.exclude_self = exclude_self;
    std::vector<float> y = Attend(weights, x, 1);
    for (size_t i = 0; i < 4; ++i) {
      const size_t seen = (causal ? i + 1 : 4) - (exclude_self ? 1 : 0);
      y[i] = std::round(y[i] * static_cast<float>(std::max<size_t>(seen, 1)));
    }
    return y;
  };
  EXPECT_EQ(sums(false, false), (std::vector<float>{15, 15, 15, 15}));
  EXPECT_EQ(sums(true, false), (std::vector<float>{1, 3, 7, 15}));
  EXPECT_EQ(sums(false, true), (std::vector<float>{14, 13, 11, 7}));
  EXPECT_EQ(sums(true, true), (std::vector<float>{1, 1, 3, 7}));
}

TEST_P(Attention, LargeScoresDoNotOverflow) {
  // Scores of either sign up to some 1e5, far beyond what exp could hold.
  ForEveryKind(Over(19, 2, 8), [](const graph::AttentionWeights& weights) {
    std::vector<float> x = Random(weights.problem.input_width, 5);
    for (float& v : x) v *= 200;
    ExpectWithinBound(weights, x, 1);
  });
  // Scores of +-1e36: the greatest takes all.
  const graph::AttentionWeights weights = Over(3, 1, 1);
  const std::vector<float> x = {1e18F, 1e18F,  5, 1e18F, -1e18F,
                                6,     -1e18F, 0, 7};
  EXPECT_EQ(Attend(weights, x, 1), (std::vector<float>{5, 5, 6}));
}

TEST_P(Attention, ARowIsTheSameInEveryBatch) {
  constexpr int64_t kRows = 5;
  // Enough work for every thread.
  ForEveryKind(Over(67, 3, 21), [](const graph::AttentionWeights& weights) {
    const std::vector<float> x = Random(kRows * weights.problem.input_width, 6);
    const std::vector<float> y = Attend(weights, x, kRows);
    EXPECT_EQ(Attend(weights, x, kRows, 3), y);
    for (int64_t row = 0; row < kRows; ++row) {
      EXPECT_EQ(Attend(weights, RowOf(x, kRows, row), 1), RowOf(y, kRows, row));
    }
  });
}

TEST_P(Attention, NanAndInfinityStayInTheirRow) {
  ForEveryKind(Over(9, 2, 10), [](const graph::AttentionWeights& weights) {
    const int64_t width = weights.problem.input_width;
    const std::vector<float> clean = Random(2 * width, 7);
    const std::vector<float> wanted = RowOf(Attend(weights, clean, 2), 2, 0);
    for (const float bad : {std::nanf(""), INFINITY, -INFINITY}) {
      std::vector<float> x = clean;
      for (int64_t i = 0; i < width; i += 7) {
        x[static_cast<size_t>(width + i)] = bad;
      }
      const std::vector<float> y = Attend(weights, x, 2);
      EXPECT_EQ(RowOf(y, 2, 0), wanted);
    }
    // A query that is not a number has no answer.
    std::vector<float> x = clean;
    x[0] = std::nanf("");
    EXPECT_TRUE(std::isnan(Attend(weights, x, 2)[0]));
  });
}

TEST_P(Attention, SequencesOfAnyLengthAreWithinTheBound) {
  const std::vector<int64_t> batches[] = {
      {1}, {1, 1, 1}, {40}, {24, 17, 9, 2, 1}, {1, 70, 3, 8, 16, 33}};
  for (const auto& lengths : batches) {
    for (const int64_t head_width : {1, 5, 16, 33}) {
      ForEveryKind(Over(0, 2, head_width),
                   [&](const graph::AttentionWeights& w) {
                     ExpectWithinBound(Sequenced(w, lengths));
                   });
    }
  }
  ExpectWithinBound(Sequenced(Over(0, 1, 12), {2, 330, 1}));
}

// Masked keys vanish, or count for less; causal queries may see masked keys
// alone.
TEST_P(Attention, MasksAreWithinTheBound) {
  for (const float mask_value : {-10000.0F, -1.5F}) {
    ForEveryKind(Over(0, 2, 7), [&](const graph::AttentionWeights& w) {
      ExpectWithinBound(Sequenced(w, {24, 17, 9, 5, 4, 2, 2, 3}, mask_value));
      ExpectWithinBound(Sequenced(w, {1, 1, 1, 1, 1}, mask_value));
    });
    ExpectWithinBound(Sequenced(Over(0, 1, 12), {310, 20, 300}, mask_value));
  }
}

TEST_P(Attention, RowsOfOneLengthAreMaskedLikeSequences) {
  ForEveryKind(Over(0, 2, 6), [](const graph::AttentionWeights& weights) {
    const Batched batch =
        Sequenced(weights, std::vector<int64_t>(6, 11), -10000.0F);
    graph::AttentionWeights fixed = batch.weights;
    fixed.problem.tokens = 11;
    fixed.problem.input_width *= 11;
    fixed.problem.output_width *= 11;
    const auto kernel = KernelsOf<graph::Attention>()[0].make(
        std::make_shared<graph::AttentionWeights>(fixed));
    const tensor::TypedRows in[] = {
        tensor::ConstRows{batch.x.data(), 6, fixed.problem.input_width},
        IntsOf(batch.mask, 6)};
    std::vector<float> y(batch.x.size() / 3, std::nanf(""));
    ExecutionContext context(2);
    kernel->RunOn(KernelInputs(in), {y.data(), 6, fixed.problem.output_width},
                  {}, context);
    EXPECT_EQ(y, batch.Attend());
  });
}

TEST_P(Attention, AMaskOfAllOrNoneIsAsNone) {
  ForEveryKind(Over(0, 2, 6), [](const graph::AttentionWeights& weights) {
    Batched batch = Sequenced(weights, {13, 4, 1}, -10000.0F);
    batch.mask.clear();
    const std::vector<float> wanted = batch.Attend();
    batch.mask.assign(18, 1);
    EXPECT_EQ(batch.Attend(), wanted);
    batch.mask.assign(18, 0);
    EXPECT_EQ(batch.Attend(), wanted);
  });
}

TEST_P(Attention, WhatTheMaskLeavesOutDoesNotCount) {
  Batched batch = Sequenced(Over(0, 2, 6), {14}, -10000.0F);
  batch.mask = MaskOf(14, 1);
  const std::vector<float> before = TokensOf(batch.Attend(), 0, 5, 12);
  for (size_t i = 5 * 36; i < batch.x.size(); ++i) batch.x[i] *= -3;
  EXPECT_EQ(TokensOf(batch.Attend(), 0, 5, 12), before);
}

TEST_P(Attention, ASequenceIsTheSameAloneAndInEveryBatch) {
  for (const float mask_value : {0.0F, -10000.0F}) {
    ForEveryKind(Over(0, 3, 10), [&](const graph::AttentionWeights& weights) {
      const Batched batch =
          Sequenced(weights, {1, 90, 2, 17, 33, 1, 5}, mask_value);
      const std::vector<float> y = batch.Attend();
      EXPECT_EQ(batch.Attend(2), y);
      EXPECT_EQ(batch.Attend(3), y);
      const std::vector<int64_t> starts = StartsOf(batch.lengths);
      for (size_t row = 0; row < batch.lengths.size(); ++row) {
        EXPECT_EQ(batch.Row(row).Attend(2),
                  TokensOf(y, starts[row], batch.lengths[row], batch.width()));
      }
    });
  }
}

TEST_P(Attention, NanStaysInItsSequence) {
  Batched batch = Sequenced(Over(0, 2, 10), {9, 6, 7}, -10000.0F);
  const std::vector<float> wanted = batch.Attend();
  std::fill_n(batch.x.begin() + 9 * 60, 6 * 60, std::nanf(""));
  const std::vector<float> y = batch.Attend();
  EXPECT_EQ(TokensOf(y, 0, 9, 20), TokensOf(wanted, 0, 9, 20));
  EXPECT_EQ(TokensOf(y, 15, 7, 20), TokensOf(wanted, 15, 7, 20));
  EXPECT_TRUE(std::isnan(y[9 * 20]));
}

TEST_P(Attention, TakesNoRows) {
  EXPECT_TRUE(Attend(Over(5, 2, 3), {}, 0, 2).empty());
  EXPECT_TRUE(Sequenced(Over(0, 2, 3), {}).Attend(2).empty());
}

INSTANTIATE_TEST_SUITE_P(Targets, Attention,
                         testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         TargetName);

}  // namespace
}  // namespace fff::engine
