// Embedding and positions, on every instruction set: sums of two floats and
// copies, hence exact.
#include <memory>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/engine/kernel_list.h"
#include "tests/unit/engine/run_kernel.h"

namespace fff::engine {
namespace {

std::unique_ptr<Kernel> Embedding(const std::vector<float>& table,
                                  int64_t width) {
  auto weights = std::make_shared<graph::EmbeddingWeights>();
  weights->problem = {1, width, static_cast<int64_t>(table.size()) / width};
  weights->table = tensor::FloatArray::CopyOf(table);
  return KernelsOf<graph::Embedding>()[0].make(std::move(weights));
}

std::unique_ptr<Kernel> Positions(const std::vector<float>& table,
                                  int64_t width) {
  auto weights = std::make_shared<graph::PositionsWeights>();
  weights->problem = {width, width, static_cast<int64_t>(table.size()) / width};
  weights->table = tensor::FloatArray::CopyOf(table);
  return KernelsOf<graph::Positions>()[0].make(std::move(weights));
}

std::vector<float> Embed(const Kernel& kernel, const std::vector<int32_t>& ids,
                         int64_t width, int threads) {
  const auto tokens = static_cast<int64_t>(ids.size());
  const tensor::TypedRows in = IntsOf(ids, tokens);
  return ComputeSequences(kernel, {&in, 1}, {tokens}, tokens, width, threads);
}

using SequenceOps = OnEveryTarget;

TEST_P(SequenceOps, EmbedsEveryId) {
  for (const int64_t width : {1, 5, 64, 131}) {
    const std::vector<float> table = Random(50 * width, 1);
    const auto kernel = Embedding(table, width);
    // More than one thread's grain; the first row and the last.
    const int64_t tokens = 2 * 16384 / width + 3;
    std::vector<int32_t> ids;
    std::vector<float> wanted;
    for (int64_t t = 0; t < tokens; ++t) {
      ids.push_back(static_cast<int32_t>(t * 49 % 50));
      const auto row = TokensOf(table, ids.back(), 1, width);
      wanted.insert(wanted.end(), row.begin(), row.end());
    }
    for (const int threads : {1, 2, 3}) {
      EXPECT_EQ(Embed(*kernel, ids, width, threads), wanted);
    }
  }
}

TEST_P(SequenceOps, AddsThePositionsOfEverySequenceAlsoInPlace) {
  const std::vector<int64_t> batches[] = {
      {1}, {700}, {1, 1, 1}, {300, 1, 2, 699, 5, 24, 17, 9, 2, 1}};
  for (const int64_t width : {1, 7, 64, 131}) {
    const std::vector<float> table = Random(700 * width, 2);
    const auto kernel = Positions(table, width);
    for (const std::vector<int64_t>& lengths : batches) {
      const int64_t tokens = StartsOf(lengths).back();
      const std::vector<float> x = Random(tokens * width, 3);
      std::vector<float> wanted;
      for (const int64_t length : lengths) {
        for (int64_t i = 0; i < length * width; ++i) {
          wanted.push_back(x[wanted.size()] + table[static_cast<size_t>(i)]);
        }
      }
      const tensor::TypedRows in = tensor::ConstRows{x.data(), tokens, width};
      for (const int threads : {1, 2, 3}) {
        EXPECT_EQ(ComputeSequences(*kernel, {&in, 1}, lengths, tokens, width,
                                   threads),
                  wanted);
      }
      std::vector<float> in_place = x;
      ExecutionContext context(1);
      const std::vector<int64_t> starts = StartsOf(lengths);
      const tensor::TypedRows same =
          tensor::ConstRows{in_place.data(), tokens, width};
      kernel->RunOn(KernelInputs({&same, 1}, Sequences(starts)),
                    {in_place.data(), tokens, width}, {}, context);
      EXPECT_EQ(in_place, wanted);
    }
  }
}

TEST_P(SequenceOps, NanStaysInItsToken) {
  const std::vector<float> table = Random(9 * 5, 4);
  std::vector<float> x(9 * 5, 1.0F);
  x[7] = std::nanf("");
  const tensor::TypedRows in = tensor::ConstRows{x.data(), 9, 5};
  const auto y =
      ComputeSequences(*Positions(table, 5), {&in, 1}, {4, 5}, 9, 5, 2);
  for (size_t i = 0; i < y.size(); ++i) {
    EXPECT_EQ(std::isnan(y[i]), i == 7) << i;
  }
}

TEST_P(SequenceOps, TakeNoRows) {
  EXPECT_TRUE(Embed(*Embedding({1, 2}, 2), {}, 2, 2).empty());
  const tensor::TypedRows none = tensor::ConstRows{nullptr, 0, 2};
  EXPECT_TRUE(
      ComputeSequences(*Positions({1, 2}, 2), {&none, 1}, {}, 0, 2, 2).empty());
}

TEST(SequencesTest, ASliceCountsFromItsFirstToken) {
  const std::vector<int64_t> starts = {10, 13, 14, 20};
  const Sequences all(starts);
  EXPECT_EQ(all.rows(), 3);
  EXPECT_EQ(all.tokens(), 10);
  const Sequences two = all.Slice(1, 2);
  EXPECT_EQ(two.rows(), 2);
  EXPECT_EQ(two.tokens(), 7);
  EXPECT_EQ(two.Begin(1), 1);
  EXPECT_EQ(two.Length(1), 6);
  EXPECT_TRUE(Sequences().empty());
  EXPECT_FALSE(all.Slice(3, 0).empty());
}

INSTANTIATE_TEST_SUITE_P(Targets, SequenceOps,
                         testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         TargetName);

}  // namespace
}  // namespace fff::engine
