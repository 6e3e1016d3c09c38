// Scale, add, rearrange and the pooling of tokens against double precision, on
// every instruction set.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/engine/kernel_list.h"
#include "server/engine/reference/bounds.h"
#include "server/engine/reference/rounding.h"
#include "tests/unit/engine/run_kernel.h"

namespace fff::engine {
namespace {

using Over = graph::PoolTokensProblem::Over;

std::unique_ptr<Kernel> ScaleOf(const std::vector<float>& scale,
                                const std::vector<float>& shift,
                                int64_t inner) {
  auto weights = std::make_shared<graph::ScaleWeights>();
  const auto channels = static_cast<int64_t>(scale.size());
  weights->problem = {channels * inner, channels * inner, channels, inner};
  weights->scale = tensor::FloatArray::CopyOf(scale);
  weights->shift = tensor::FloatArray::CopyOf(shift);
  return KernelsOf<graph::Scale>()[0].make(std::move(weights));
}

std::unique_ptr<Kernel> Rearrange(int64_t input_width,
                                  const std::vector<int32_t>& index,
                                  const std::vector<float>& addend) {
  auto weights = std::make_shared<graph::RearrangeWeights>();
  graph::RearrangeProblem& p = weights->problem;
  p.input_width = input_width;
  p.output_width =
      index.empty() ? input_width : static_cast<int64_t>(index.size());
  p.to = {p.output_width};
  p.moves = !index.empty();
  p.adds = !addend.empty();
  weights->index = index;
  if (p.adds) weights->addend = tensor::FloatArray::CopyOf(addend);
  return KernelsOf<graph::Rearrange>()[0].make(std::move(weights));
}

graph::PoolTokensWeights PoolOf(int64_t tokens, int64_t width, Over over) {
  graph::PoolTokensWeights weights;
  weights.problem = {tokens * width, width, tokens, over};
  return weights;
}

std::vector<float> Pool(const graph::PoolTokensWeights& weights,
                        const std::vector<float>& x, int64_t rows,
                        int threads = 1) {
  const auto kernel = KernelsOf<graph::PoolTokens>()[0].make(
      std::make_shared<graph::PoolTokensWeights>(weights));
  return Compute(*kernel, {x}, rows, weights.problem.output_width, threads);
}

constexpr Over kOvers[] = {Over::kMean, Over::kMax, Over::kLogSumExp,
                           Over::kFirst};

graph::PoolTokensWeights MaskedPoolOf(int64_t tokens, int64_t width,
                                      Over over) {
  graph::PoolTokensWeights weights =
      PoolOf(std::max<int64_t>(tokens, 1), width, over);
  weights.problem.tokens = tokens;
  weights.problem.masked = true;
  return weights;
}

// Of sequences of `lengths`; an absent mask is empty.
std::vector<float> PoolSequences(const graph::PoolTokensWeights& weights,
                                 const std::vector<float>& x,
                                 const std::vector<int32_t>& mask,
                                 const std::vector<int64_t>& lengths,
                                 int threads = 1) {
  const auto kernel = KernelsOf<graph::PoolTokens>()[0].make(
      std::make_shared<graph::PoolTokensWeights>(weights));
  const int64_t width = weights.problem.output_width;
  const int64_t tokens = StartsOf(lengths).back();
  const tensor::TypedRows in[] = {tensor::ConstRows{x.data(), tokens, width},
                                  IntsOf(mask, tokens)};
  return ComputeSequences(*kernel, in, lengths,
                          static_cast<int64_t>(lengths.size()), width, threads);
}

using TokenOps = OnEveryTarget;

TEST_P(TokenOps, ScalesEveryChannel) {
  const std::pair<int64_t, int64_t> shapes[] = {
      {1, 1}, {3, 1}, {37, 1}, {768, 1}, {1, 33}, {3, 1024}, {5, 7}, {64, 3}};
  for (const auto& [channels, inner] : shapes) {
    // More than one thread's grain, and a range that ends inside a row.
    const int64_t width = channels * inner;
    const int64_t rows = 2 * 16384 / width + 3;
    const std::vector<float> scale = Random(channels, 1);
    const std::vector<float> shift = Random(channels, 2);
    const std::vector<float> x = Random(rows * width, 3);
    const auto kernel = ScaleOf(scale, shift, inner);
    const std::vector<float> y = Compute(*kernel, {x}, rows, width, 2);
    for (size_t i = 0; i < x.size(); ++i) {
      const auto c = i / static_cast<size_t>(inner) % scale.size();
      const double product = double{x[i]} * scale[c];
      ASSERT_NEAR(y[i], product + shift[c],
                  SumBound(1, std::abs(product) + std::abs(shift[c]), 0))
          << channels << " channels of " << inner << ", element " << i;
    }
    EXPECT_EQ(Compute(*kernel, {RowOf(x, rows, 1)}, 1, width),
              RowOf(y, rows, 1));
  }
}

TEST_P(TokenOps, AddsAlsoInPlace) {
  for (const int64_t width : {1, 7, 64, 4097}) {
    auto weights = std::make_shared<graph::AddWeights>();
    weights->problem = {width, width};
    const auto kernel = KernelsOf<graph::Add>()[0].make(std::move(weights));
    const std::vector<float> a = Random(9 * width, 4);
    const std::vector<float> b = Random(9 * width, 5);
    std::vector<float> wanted(a.size());
    std::transform(a.begin(), a.end(), b.begin(), wanted.begin(),
                   std::plus<>());
    EXPECT_EQ(Compute(*kernel, {a, b}, 9, width, 2), wanted);
    std::vector<float> in_place = a;
    ExecutionContext context(1);
    const tensor::TypedRows in[] = {
        tensor::ConstRows{in_place.data(), 9, width},
        tensor::ConstRows{b.data(), 9, width}};
    kernel->RunOn(KernelInputs(in), {in_place.data(), 9, width}, {}, context);
    EXPECT_EQ(in_place, wanted);
  }
}

// Index tables of an input of 120 elements.
std::vector<std::vector<int32_t>> Tables() {
  std::vector<int32_t> all(120);
  std::iota(all.begin(), all.end(), 0);
  std::vector<int32_t> turned(120);  // a transposed 10 x 12
  std::vector<int32_t> blocks;       // 5 x 24, last one first, zeros between
  std::vector<int32_t> spread;       // every third, then zeros
  for (int32_t i = 0; i < 120; ++i) {
    turned[static_cast<size_t>(i)] = i % 10 * 12 + i / 10;
    if (i % 3 == 0) spread.push_back(i);
    if (i < 20) spread.push_back(-1);
  }
  for (int32_t block = 4; block >= 0; --block) {
    for (int32_t i = 0; i < 24; ++i) blocks.push_back(block * 24 + i);
    for (int32_t i = 0; i < 9; ++i) blocks.push_back(-1);
  }
  std::vector<int32_t> ahead(33, -1);  // zeros, then all
  ahead.insert(ahead.end(), all.begin(), all.end());
  return {{},     all,    turned,
          blocks, spread, ahead,
          {7},    {-1},   std::vector<int32_t>(50, 11)};
}

TEST_P(TokenOps, RearrangesByAnyTable) {
  constexpr int64_t kInput = 120;
  constexpr int64_t kRows = 400;  // more than one thread's grain
  const std::vector<float> x = Random(kRows * kInput, 6);
  for (const std::vector<int32_t>& index : Tables()) {
    const int64_t width =
        index.empty() ? kInput : static_cast<int64_t>(index.size());
    for (const bool adds : {false, true}) {
      const std::vector<float> addend =
          adds ? Random(width, 7) : std::vector<float>();
      std::vector<float> wanted;
      for (int64_t i = 0; i < kRows * width; ++i) {
        const auto at = static_cast<size_t>(i % width);
        const int64_t from =
            index.empty() ? static_cast<int64_t>(at) : index[at];
        const float moved =
            from < 0 ? 0.0F : x[static_cast<size_t>(i / width * kInput + from)];
        wanted.push_back(adds ? moved + addend[at] : moved);
      }
      const auto kernel = Rearrange(kInput, index, addend);
      EXPECT_EQ(Compute(*kernel, {x}, kRows, width, 2), wanted);
    }
  }
}

TEST_P(TokenOps, PoolsEveryShapeWithinTheBound) {
  const std::pair<int64_t, int64_t> shapes[] = {
      {1, 1}, {1, 37}, {2, 64}, {65, 20}, {50, 67}, {9, 130}, {1000, 3}};
  for (const Over over : {Over::kMean, Over::kMax, Over::kLogSumExp}) {
    for (const auto& [tokens, width] : shapes) {
      const graph::PoolTokensWeights weights = PoolOf(tokens, width, over);
      const int64_t rows = 2 * 16384 / (tokens * width) + 3;
      const std::vector<float> x = Random(rows * tokens * width, 8);
      const std::vector<float> y = Pool(weights, x, rows, 2);
      for (const int64_t row : {int64_t{0}, rows / 2, rows - 1}) {
        const std::vector<float> one = RowOf(x, rows, row);
        const std::vector<float> got = RowOf(y, rows, row);
        const auto wanted = PoolTokensOutputs(weights, one.data());
        for (size_t c = 0; c < got.size(); ++c) {
          ASSERT_NEAR(got[c], wanted[c].value, wanted[c].bound)
              << weights.problem.ToString() << ", column " << c;
        }
        EXPECT_EQ(Pool(weights, one, 1), got);
      }
    }
  }
}

TEST_P(TokenOps, PoolingKeepsLargeAndInfiniteTokens) {
  const float inf = std::numeric_limits<float>::infinity();
  const graph::PoolTokensWeights logsumexp = PoolOf(3, 4, Over::kLogSumExp);
  const std::vector<float> x = {1e4F, -1e4F, inf, -inf,  //
                                0,    -1e4F, 0,   -inf,  //
                                1e4F, -2e4F, 0,   -inf};
  const std::vector<float> y = Pool(logsumexp, x, 1);
  const auto wanted = PoolTokensOutputs(logsumexp, x.data());
  EXPECT_NEAR(y[0], wanted[0].value, wanted[0].bound);
  EXPECT_NEAR(y[1], wanted[1].value, wanted[1].bound);
  EXPECT_EQ(y[2], inf);
  EXPECT_EQ(y[3], -inf);
}

TEST_P(TokenOps, ANanIsTheResultOfItsColumn) {
  for (const Over over : {Over::kMean, Over::kMax, Over::kLogSumExp}) {
    for (size_t token = 0; token < 5; ++token) {
      std::vector<float> x = Random(5 * 19, 9);
      const std::vector<float> clean = Pool(PoolOf(5, 19, over), x, 1);
      x[token * 19 + 17] = std::nanf("");
      x[token * 19 + 2] = std::nanf("");
      const std::vector<float> y = Pool(PoolOf(5, 19, over), x, 1);
      for (size_t c = 0; c < 19; ++c) {
        if (c == 2 || c == 17) {
          EXPECT_TRUE(std::isnan(y[c])) << "column " << c;
        } else {
          EXPECT_EQ(y[c], clean[c]) << "column " << c;
        }
      }
    }
  }
}

// Masks of every kind, and none; each row alone gives the same bits.
TEST_P(TokenOps, PoolsSequencesWithinTheBound) {
  const std::vector<int64_t> lengths = {9, 1, 400, 2, 30, 1, 64, 3, 5, 7};
  const std::vector<int64_t> starts = StartsOf(lengths);
  std::vector<int32_t> all;
  for (size_t row = 0; row < lengths.size(); ++row) {
    const auto mask = MaskOf(lengths[row], static_cast<int>(row % 5));
    all.insert(all.end(), mask.begin(), mask.end());
  }
  for (const auto& masks : {all, std::vector<int32_t>()}) {
    for (const auto& [width, over] :
         {std::pair{1, kOvers[0]}, std::pair{67, kOvers[0]},
          std::pair{67, kOvers[1]}, std::pair{40, kOvers[2]},
          std::pair{67, kOvers[2]}, std::pair{3, kOvers[3]}}) {
      const graph::PoolTokensWeights weights = MaskedPoolOf(0, width, over);
      const std::vector<float> x = Random(starts.back() * width, 10);
      const std::vector<float> y = PoolSequences(weights, x, masks, lengths, 2);
      EXPECT_EQ(PoolSequences(weights, x, masks, lengths, 1), y);
      EXPECT_EQ(PoolSequences(weights, x, masks, lengths, 3), y);
      for (size_t row = 0; row < lengths.size(); ++row) {
        const int64_t length = lengths[row];
        const auto one = TokensOf(x, starts[row], length, width);
        const auto mask = TokensOf(masks, starts[row], length);
        const auto got = TokensOf(y, static_cast<int64_t>(row), 1, width);
        EXPECT_EQ(PoolSequences(weights, one, mask, {length}), got);
        const auto wanted =
            PoolTokensOutputs(weights, one.data(),
                              {length, mask.empty() ? nullptr : mask.data()});
        for (size_t c = 0; c < got.size(); ++c) {
          ASSERT_NEAR(got[c], wanted[c].value, wanted[c].bound)
              << weights.problem.ToString() << ", row " << row;
        }
      }
    }
  }
}

TEST_P(TokenOps, PoolsMaskedRowsOfOneLengthLikeSequences) {
  std::vector<int32_t> mask;
  for (int kind = 0; kind < 5; ++kind) {
    const auto one = MaskOf(7, kind);
    mask.insert(mask.end(), one.begin(), one.end());
  }
  const std::vector<float> x = Random(5 * 7 * 19, 11);
  for (const Over over : kOvers) {
    const auto kernel = KernelsOf<graph::PoolTokens>()[0].make(
        std::make_shared<graph::PoolTokensWeights>(MaskedPoolOf(7, 19, over)));
    const tensor::TypedRows in[] = {tensor::ConstRows{x.data(), 5, 7 * 19},
                                    IntsOf(mask, 5)};
    std::vector<float> y(5 * 19, std::nanf(""));
    ExecutionContext context(2);
    kernel->RunOn(KernelInputs(in), {y.data(), 5, 19}, {}, context);
    EXPECT_EQ(y, PoolSequences(MaskedPoolOf(0, 19, over), x, mask,
                               std::vector<int64_t>(5, 7)));
  }
}

TEST_P(TokenOps, PoolingDoesNotSeeWhatIsMasked) {
  for (const Over over : kOvers) {
    std::vector<float> x = Random(6 * 19, 12);
    const std::vector<int32_t> mask = {0, 1, 1, 0, 1, 0};
    const auto wanted = PoolSequences(MaskedPoolOf(0, 19, over), x, mask, {6});
    for (const size_t token : {0u, 3u, 5u}) {
      std::fill_n(x.begin() + static_cast<std::ptrdiff_t>(token * 19), 19,
                  std::nanf(""));
    }
    EXPECT_EQ(PoolSequences(MaskedPoolOf(0, 19, over), x, mask, {6}), wanted);
  }
}

TEST_P(TokenOps, TakeNoRows) {
  EXPECT_TRUE(
      PoolSequences(MaskedPoolOf(0, 2, Over::kMax), {}, {}, {}).empty());
  EXPECT_TRUE(Compute(*ScaleOf({1}, {0}, 3), {{}}, 0, 3, 2).empty());
  EXPECT_TRUE(Compute(*Rearrange(3, {2, 1}, {}), {{}}, 0, 2, 2).empty());
  EXPECT_TRUE(Pool(PoolOf(3, 2, Over::kMean), {}, 0, 2).empty());
}

INSTANTIATE_TEST_SUITE_P(Targets, TokenOps,
                         testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         TargetName);

}  // namespace
}  // namespace fff::engine
