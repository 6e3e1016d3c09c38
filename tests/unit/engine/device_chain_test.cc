// Chains and their kernels on the fake device: which may serve a layer, which
// are left out, and why.
#include "tests/unit/engine/device_chain.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/device/chain.h"
#include "tests/unit/engine/fake_device.h"
#include "tests/unit/engine/small_layers.h"

namespace fff::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class DeviceChainTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<Chain>> Make(std::vector<DeviceOp> ops,
                                              const std::string& kernel = "",
                                              int64_t rows_max = 64) {
    DeviceChain chain;
    chain.input_width = 8;
    chain.ops = std::move(ops);
    DeviceOptions options;
    options.kernel_name = kernel;
    options.rows_max = rows_max;
    return Chain::Make(GraphOf(chain), options, device_);
  }
  static std::vector<std::string> Names(const Chain& chain, size_t layer,
                                        int64_t rows) {
    std::vector<std::string> names;
    for (const Candidate& candidate : chain.Candidates(layer, rows)) {
      names.push_back(chain.layer(layer).Name(candidate));
    }
    return names;
  }
  FakeDevice device_;
  const UseDevice use_{device_};
};

TEST_F(DeviceChainTest, CandidatesAreWhatIsWorthWhileAtABatchSize) {
  const auto chain = Make({IntegerPath(8, 8, 3)});
  ASSERT_TRUE(chain.ok()) << chain.status();
  EXPECT_THAT(Names(**chain, 0, 15), ElementsAre("path_walk"));
  EXPECT_THAT(Names(**chain, 0, 16), ElementsAre("path_walk", "path_sorted"));
}

TEST_F(DeviceChainTest, VariantsOfAKernelAreCandidatesOfTheirOwn) {
  const auto chain = Make({IntegerPath(8, 8, 3, 4)});
  ASSERT_TRUE(chain.ok()) << chain.status();
  EXPECT_THAT(Names(**chain, 0, 1),
              ElementsAre("path_walk", "path_split/1", "path_split/2"));
}

TEST_F(DeviceChainTest, LayersBeforeARoutingLayerKeepOneOrderOfSums) {
  const auto path = IntegerPath(8, 8, 3, 4);
  const auto chain = Make({path, ActivationOp{Activation::kRelu}, path, path});
  ASSERT_TRUE(chain.ok()) << chain.status();
  EXPECT_THAT(Names(**chain, 0, 64), ElementsAre("path_walk"));
  EXPECT_THAT(Names(**chain, 2, 64), ElementsAre("path_walk"));
  EXPECT_THAT(Names(**chain, 3, 64),
              ElementsAre("path_walk", "path_split/1", "path_split/2"));
}

TEST_F(DeviceChainTest, WhereAllHaveAnOrderOfTheirOwnTheFirstStays) {
  const auto wide = IntegerLeaf(8, 16, 8, 2);
  const auto chain = Make({wide, wide});
  ASSERT_TRUE(chain.ok()) << chain.status();
  EXPECT_THAT(Names(**chain, 0, 1), ElementsAre("leaf_other"));
}

TEST_F(DeviceChainTest, ANamedKernelServesLayersThatRoute) {
  const auto chain =
      Make({IntegerPath(8, 8, 3), IntegerDense(8, 8)}, "path_sorted");
  ASSERT_TRUE(chain.ok()) << chain.status();
  EXPECT_THAT(Names(**chain, 0, 1), ElementsAre("path_sorted"));
  EXPECT_THAT(Names(**chain, 1, 1), ElementsAre("dense", "dense/1", "dense/2"));
}

TEST_F(DeviceChainTest, ANameMayAskForOneVariant) {
  const auto path = IntegerPath(8, 8, 3, 4);
  const auto one = Make({path}, "path_split/2");
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_THAT(Names(**one, 0, 1), ElementsAre("path_split/2"));
  const auto all = Make({path}, "path_split");
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_THAT(Names(**all, 0, 1), ElementsAre("path_split/1", "path_split/2"));
}

TEST_F(DeviceChainTest, ANameThatIsNotThereIsSaidWithItsLayer) {
  const auto chain =
      Make({IntegerDense(8, 8), IntegerPath(8, 8, 3)}, "path_magic");
  EXPECT_EQ(chain.status(),
            absl::InvalidArgumentError(
                "no fake kernel named \"path_magic\" for layer 1"));
  // Of another layer's shape: split wants several trees.
  EXPECT_EQ(Make({IntegerPath(8, 8, 3)}, "path_split").status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(DeviceChainTest, ALayerThatNoKernelComputesIsSaidAndNotCopied) {
  const int before = device_.allocations;
  const auto chain = Make({IntegerLeaf(8, 65, 8, 1)});
  EXPECT_EQ(chain.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(chain.status().message()),
              HasSubstr("no kernel on fake computes "));
  EXPECT_EQ(device_.allocations, before);
}

TEST_F(DeviceChainTest, WhatAKernelKeepsIsMadeOnlyWhereItCanBeChosen) {
  const auto bytes = [&](const std::string& kernel, int64_t rows_max) {
    const auto chain = Make({IntegerPath(8, 8, 3)}, kernel, rows_max);
    EXPECT_TRUE(chain.ok()) << chain.status();
    return (*chain)->weights_bytes();
  };
  const int64_t plain = bytes("", 15);
  EXPECT_EQ(bytes("", 16), plain + 4096);
  EXPECT_EQ(bytes("path_sorted", 15), plain + 4096);
}

TEST_F(DeviceChainTest, WhatAKernelKeepsIsLeftOutForLackOfMemory) {
  device_.allocation_that_fails = 4;  // after X, Y and the biases
  const auto chain = Make({IntegerPath(8, 8, 3)});
  ASSERT_TRUE(chain.ok()) << chain.status();
  EXPECT_THAT(Names(**chain, 0, 64), ElementsAre("path_walk"));
  EXPECT_EQ((*chain)->needs().buckets, 0) << "nor is its scratch needed";
}

TEST_F(DeviceChainTest, ScratchCoversTheLargestNeedOfAllLayers) {
  const auto chain = Make({IntegerPath(8, 8, 3, 4), IntegerPath(8, 24, 2, 2),
                           IntegerPath(24, 8, 5), IntegerDense(8, 8)});
  ASSERT_TRUE(chain.ok()) << chain.status();
  const ScratchNeed need = (*chain)->needs();
  EXPECT_EQ(need.bytes, 64 * 24 * 4);
  EXPECT_EQ(need.buckets, 16);
  EXPECT_EQ(need.workspace_bytes, 1024);
}

TEST_F(DeviceChainTest, AMasterLeafIsFourLayersAndTwoSlots) {
  MasterLeafOp op;
  op.leaf = IntegerLeaf(8, 4, 5, 2);
  op.hidden = IntegerDense(8, 3);
  op.output = IntegerDense(3, 5);
  const auto chain = Make({op});
  ASSERT_TRUE(chain.ok()) << chain.status();
  EXPECT_EQ((*chain)->size(), 4u);
  EXPECT_EQ((*chain)->sinks(), 1u);
  EXPECT_THAT((*chain)->slot_pitches(), testing::ElementsAre(8, 8));
  EXPECT_EQ((*chain)->layer(0).trees(), 1);
  EXPECT_EQ((*chain)->layer(0).decisions(), 2);
}

TEST_F(DeviceChainTest, TheWidestValuesOfEachTurnDecideTheSlots) {
  const auto chain =
      Make({IntegerDense(8, 33), IntegerDense(33, 9), IntegerDense(9, 100)});
  ASSERT_TRUE(chain.ok()) << chain.status();
  EXPECT_EQ((*chain)->slot_pitches(), (std::vector<int64_t>{40, 16}));
  EXPECT_EQ((*chain)->output_width(), 100);
  const auto one = Make({IntegerDense(8, 33)});
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_EQ((*one)->slot_pitches(), std::vector<int64_t>());
}

TEST_F(DeviceChainTest, ChoicesAreLookedUpByBatchSize) {
  const auto chain = Make({IntegerPath(8, 8, 3)});
  ASSERT_TRUE(chain.ok()) << chain.status();
  const std::vector<Candidate> both = (*chain)->Candidates(0, 64);
  (*chain)->Choose({{{1, both[0], "few"}, {20, both[1], "many"}}});
  EXPECT_TRUE((*chain)->ChosenFor(0, 19) == both[0]);
  EXPECT_TRUE((*chain)->ChosenFor(0, 20) == both[1]);
}

TEST_F(DeviceChainTest, ABlendWhoseFirstInputIsReadAgainIsRefused) {
  graph::GraphBuilder builder;
  const graph::ValueId x =
      builder.AddInput({"x", tensor::DataType::kF32, {8}, {}});
  builder.BeginLayer({});
  const graph::ValueId h = *builder.Add(graph::Linear{{IntegerDense(8, 8)}}, x);
  const graph::ValueId y =
      *builder.Add(graph::Blend{{std::make_shared<const graph::BlendWeights>(
                       graph::BlendWeights{{8, 8, 0.5F}})}},
                   {x, h});
  ASSERT_TRUE(builder.AddOutput({}, y).ok());
  const auto chain =
      Chain::Make(std::move(builder).Build(), DeviceOptions(), device_);
  EXPECT_EQ(chain.status().code(), absl::StatusCode::kUnimplemented);
}

using DeviceChainDeathTest = DeviceChainTest;

TEST_F(DeviceChainDeathTest, WeightsOfAnotherSizeThanTheirProblemAreABug) {
  auto weights = std::make_shared<DenseWeights>();
  weights->problem = {8, 8, Activation::kIdentity, true};
  weights->w = Integers(64, 1);
  weights->bias = Integers(7, 1);
  EXPECT_DEATH(Make({std::shared_ptr<const DenseWeights>(weights)})
                   .status()
                   .IgnoreError(),
               "check failed: array.size");
}

}  // namespace
}  // namespace fff::engine
