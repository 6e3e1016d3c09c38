// The attention kernels against double precision, on every instruction set.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "server/engine/kernel_list.h"
#include "server/engine/reference/bounds.h"
#include "tests/unit/engine/run_kernel.h"

namespace fff::engine {
namespace {

using Layout = AttentionProblem::Layout;

AttentionWeights Over(int64_t tokens, int64_t heads, int64_t head_width) {
  AttentionWeights weights;
  AttentionProblem& p = weights.problem;
  p.tokens = tokens;
  p.heads = heads;
  p.head_width = head_width;
  p.input_width = 3 * tokens * p.width();
  p.output_width = tokens * p.width();
  p.scale = 1 / std::sqrt(static_cast<float>(head_width));
  return weights;
}

std::vector<float> Attend(const AttentionWeights& weights,
                          const std::vector<float>& x, int64_t rows,
                          int threads = 1) {
  const auto kernel =
      AttentionKernels()[0].make(std::make_shared<AttentionWeights>(weights));
  return Compute(*kernel, {x}, rows, weights.problem.output_width, threads);
}

void ExpectWithinBound(const AttentionWeights& weights,
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
void ForEveryKind(AttentionWeights weights, const Body& body) {
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

using Attention = OnEveryTarget;

TEST_P(Attention, IsWithinTheBoundForEveryShape) {
  // tokens, heads, head_width: parts of vectors, of tiles and of blocks.
  const int64_t shapes[][3] = {{1, 1, 1},   {1, 3, 5},  {2, 1, 4},   {3, 2, 17},
                               {6, 1, 16},  {7, 3, 16}, {13, 1, 33}, {33, 4, 8},
                               {65, 2, 20}, {130, 1, 7}};
  for (const auto& shape : shapes) {
    ForEveryKind(Over(shape[0], shape[1], shape[2]),
                 [](const AttentionWeights& weights) {
                   ExpectWithinBound(
                       weights, Random(2 * weights.problem.input_width, 1), 2);
                 });
  }
}

TEST_P(Attention, GoesOverManyTokensInBlocks) {
  AttentionWeights weights = Over(300, 1, 12);
  ExpectWithinBound(weights, Random(weights.problem.input_width, 2), 1);
  weights.problem.causal = true;
  ExpectWithinBound(weights, Random(weights.problem.input_width, 3), 1);
}

TEST_P(Attention, OneTokenIsItsValue) {
  ForEveryKind(Over(1, 2, 19), [](const AttentionWeights& weights) {
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
  AttentionWeights weights = Over(4, 1, 1);
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
  ForEveryKind(Over(19, 2, 8), [](const AttentionWeights& weights) {
    std::vector<float> x = Random(weights.problem.input_width, 5);
    for (float& v : x) v *= 200;
    ExpectWithinBound(weights, x, 1);
  });
  // Scores of +-1e36: the greatest takes all.
  const AttentionWeights weights = Over(3, 1, 1);
  const std::vector<float> x = {1e18F, 1e18F,  5, 1e18F, -1e18F,
                                6,     -1e18F, 0, 7};
  EXPECT_EQ(Attend(weights, x, 1), (std::vector<float>{5, 5, 6}));
}

TEST_P(Attention, ARowIsTheSameInEveryBatch) {
  constexpr int64_t kRows = 5;
  // Enough work for every thread.
  ForEveryKind(Over(67, 3, 21), [](const AttentionWeights& weights) {
    const std::vector<float> x = Random(kRows * weights.problem.input_width, 6);
    const std::vector<float> y = Attend(weights, x, kRows);
    EXPECT_EQ(Attend(weights, x, kRows, 3), y);
    for (int64_t row = 0; row < kRows; ++row) {
      EXPECT_EQ(Attend(weights, RowOf(x, kRows, row), 1), RowOf(y, kRows, row));
    }
  });
}

TEST_P(Attention, NanAndInfinityStayInTheirRow) {
  ForEveryKind(Over(9, 2, 10), [](const AttentionWeights& weights) {
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

TEST_P(Attention, TakesNoRows) {
  EXPECT_TRUE(Attend(Over(5, 2, 3), {}, 0, 2).empty());
}

INSTANTIATE_TEST_SUITE_P(Targets, Attention,
                         testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         TargetName);

}  // namespace
}  // namespace fff::engine
