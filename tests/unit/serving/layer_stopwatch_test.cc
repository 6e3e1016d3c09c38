#include "server/serving/batching/layer_stopwatch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "server/serving/batching/batch_runner.h"
#include "tests/unit/serving/test_layer.h"
#include "tests/unit/serving/test_servable.h"

namespace fff::serving {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

TEST(LayerSampler, TakesTheFirstBatchAndEverySeventeenthAfterIt) {
  LayerSampler sampler;
  std::vector<uint32_t> taken;
  for (uint32_t i = 0; i < 3 * LayerSampler::kEvery; ++i) {
    if (sampler.Next()) taken.push_back(i);
  }
  EXPECT_THAT(taken, ElementsAre(0, 17, 34));
}

TEST(LayerSampler, BatchesThatAlternateInSizeAreBothTaken) {
  LayerSampler sampler;
  int even = 0;
  int odd = 0;
  for (uint32_t i = 0; i < 20 * LayerSampler::kEvery; ++i) {
    if (sampler.Next()) ++(i % 2 == 0 ? even : odd);
  }
  EXPECT_EQ(even, 10);
  EXPECT_EQ(odd, 10);
}

class LayerStopwatchTest : public ::testing::Test {
 protected:
  LayerStopwatchTest() { groups_.groups.resize(2); }

  void Node(size_t node, int64_t took_ns) {
    now_ += std::chrono::nanoseconds(took_ns);
    (*stopwatch_.observer())(node, {});
  }

  static Clock::time_point Now() { return now_; }
  static Clock::time_point now_;
  model::NodeGroups groups_ = {{0, 1, 0}, {}};
  LayerStopwatch stopwatch_{&Now};
};
Clock::time_point LayerStopwatchTest::now_;

TEST_F(LayerStopwatchTest, GivesEveryNodesTimeToItsGroup) {
  stopwatch_.Start(groups_);
  EXPECT_FALSE(stopwatch_.any());
  Node(0, 5);
  Node(1, 7);
  Node(2, 11);
  EXPECT_TRUE(stopwatch_.any());
  EXPECT_THAT(stopwatch_.ns(), ElementsAre(16, 7));
}

TEST_F(LayerStopwatchTest, AddsUpTheBlocksOfABatch) {
  stopwatch_.Start(groups_);
  for (int block = 0; block < 3; ++block) {
    Node(0, 1);
    Node(1, 20);
    Node(2, 300);
  }
  EXPECT_THAT(stopwatch_.ns(), ElementsAre(903, 60));
}

TEST_F(LayerStopwatchTest, WhatIsSkippedIsNoLayers) {
  stopwatch_.Start(groups_);
  Node(0, 5);
  now_ += std::chrono::nanoseconds(1000);
  stopwatch_.Skip();
  Node(1, 7);
  EXPECT_THAT(stopwatch_.ns(), ElementsAre(5, 7));
}

TEST_F(LayerStopwatchTest, EveryBatchStartsAtNought) {
  stopwatch_.Start(groups_);
  Node(0, 5);
  now_ += std::chrono::nanoseconds(1000);
  stopwatch_.Start(groups_);
  EXPECT_FALSE(stopwatch_.any());
  EXPECT_THAT(stopwatch_.ns(), Each(0));
  Node(1, 2);
  EXPECT_THAT(stopwatch_.ns(), ElementsAre(0, 2));
}

// What a batch runner records of a network of two groups.
class SampledBatchesTest : public ::testing::Test {
 protected:
  static std::shared_ptr<const model::Model> Network() {
    DoublingLayer::Options plain;
    plain.name = "plain";
    DoublingLayer::Options routed;
    routed.name = "routed";
    routed.routing = {graph::RoutingShape::Family::kPath, 1, 4, 3};
    return MakeModel({plain, routed, plain});
  }
  void Run(const Servable& servable, int batches) {
    for (int i = 0; i < batches; ++i) {
      TestTask task({1, 2});
      const Piece piece = {&task, 0, 2};
      runner_.Run(servable, {&piece, 1});
    }
  }
  BatchRunner runner_{/*threads=*/1};
};

TEST_F(SampledBatchesTest, AddUpToNoMoreThanTheComputeTime) {
  const auto servable = MakeServable(Network());
  ASSERT_NE(servable->parts().layer_times, nullptr);
  const metrics::LayerTimes& times = *servable->parts().layer_times;
  EXPECT_EQ(times.sums().batches, 0u);
  Run(*servable, 18);
  const metrics::LayerTimes::Sums sums = times.sums();
  EXPECT_EQ(sums.batches, 2u);
  EXPECT_EQ(sums.rows, 4u);
  EXPECT_EQ(sums.tokens, 4u);
  ASSERT_EQ(sums.ns.size(), 2u);
  EXPECT_LE(sums.ns[0] + sums.ns[1],
            servable->metrics().compute_duration.Snapshot().sum);
  EXPECT_FALSE(times.groups()[0].feedforward);
  EXPECT_TRUE(times.groups()[1].feedforward);
  EXPECT_EQ(times.groups()[0].count, 2);
  EXPECT_EQ(times.groups()[1].first_layer, 1);
}

TEST_F(SampledBatchesTest, OfALayerAloneThereAreNone) {
  DoublingLayer::Options routed;
  routed.routing = {graph::RoutingShape::Family::kPath, 1, 4, 3};
  const auto servable = MakeServable(MakeModel(routed));
  EXPECT_EQ(servable->parts().node_groups, nullptr);
  EXPECT_EQ(servable->parts().layer_times, nullptr);
  EXPECT_FALSE(servable->SamplesNext());
  Run(*servable, 1);
}

TEST_F(SampledBatchesTest, OfATwinThatDiffersElsewhereThereAreNone) {
  const auto dense = MakeModel(DoublingLayer::Options());
  EXPECT_EQ(NodeGroupsOfTwin(*dense, *Network()), nullptr);
  EXPECT_TRUE(LayerGroups(nullptr).empty());
}

}  // namespace
}  // namespace fff::serving
