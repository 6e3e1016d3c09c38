// Kernels of a chain chosen by the fake device's clock.
#include "server/engine/device/lane_tuning.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/device_chain.h"
#include "tests/unit/engine/fake_device.h"
#include "tests/unit/engine/small_layers.h"

namespace fff::engine {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

class LaneTuningTest : public testing::Test {
 protected:
  void Make(std::vector<DeviceOp> ops, int64_t rows_max) {
    DeviceChain chain;
    chain.input_width = 8;
    chain.ops = std::move(ops);
    DeviceOptions options;
    options.rows_max = rows_max;
    auto made = Chain::Make(GraphOf(chain), options, device_);
    ASSERT_TRUE(made.ok()) << made.status();
    chain_ = *std::move(made);
    auto lane = Lane::Make(chain_.get(), &copies_);
    ASSERT_TRUE(lane.ok()) << lane.status();
    lane_ = *std::move(lane);
  }
  HostCopies copies_{1};
  FakeDevice device_;
  const UseDevice use_{device_};
  std::unique_ptr<Chain> chain_;
  std::unique_ptr<Lane> lane_;
};

TEST_F(LaneTuningTest, FourLaunchesThreeRepeatsAndAWarmUpOfEachCandidate) {
  Make({IntegerPath(8, 8, 2, 2)}, 1);
  ASSERT_TRUE(TuneOnLane(1e9, *chain_, *lane_).ok());
  EXPECT_EQ(device_.CountRuns("path_walk"), 4 * 4);
  EXPECT_EQ(device_.CountRuns("path_split/1"), 4 * 4);
  EXPECT_EQ(device_.CountRuns("path_split/2"), 4 * 4);
}

TEST_F(LaneTuningTest, TheFastestOfTheDevicesClockIsChosen) {
  device_.SetTime("path_walk", 3e-6, 0);
  device_.SetTime("path_split/1", 2e-6, 0);
  device_.SetTime("path_split/2", 1e-6, 1e-6);
  Make({IntegerPath(8, 8, 2, 2)}, 64);
  const auto steps = TuneOnLane(1e9, *chain_, *lane_);
  ASSERT_TRUE(steps.ok()) << steps.status();
  ASSERT_THAT((*steps)[0], SizeIs(1));
  EXPECT_EQ((*steps)[0][0].kernel, "path_split/1");
  EXPECT_EQ((*steps)[0][0].reason,
            "measured: 2 us/row at 1 rows against path_split/2 2");
  EXPECT_EQ(chain_->layer(0).Name(chain_->ChosenFor(0, 64)), "path_split/1");
}

TEST_F(LaneTuningTest, NothingIsMeasuredWithoutABudget) {
  Make({IntegerPath(8, 8, 2, 2), IntegerDense(8, 8)}, 64);
  const auto steps = TuneOnLane(0, *chain_, *lane_);
  ASSERT_TRUE(steps.ok()) << steps.status();
  EXPECT_TRUE(device_.runs.empty());
  EXPECT_EQ((*steps)[0][0].kernel, "path_walk");
  EXPECT_EQ((*steps)[1][0].kernel, "dense");
  EXPECT_THAT((*steps)[0][0].reason, HasSubstr("not measured"));
}

TEST_F(LaneTuningTest, KeepsToItsBudget) {
  // One bucket of three candidates takes 48 launches of a second each.
  Make({IntegerPath(8, 8, 2, 2)}, 1024);
  ASSERT_TRUE(TuneOnLane(500, *chain_, *lane_).ok());
  EXPECT_LE(device_.now_s, 500);
  EXPECT_GE(device_.now_s, 500 - 3 * 48);
}

TEST_F(LaneTuningTest, AnOnlyKernelIsNotMeasured) {
  Make({ActivationOp{Activation::kRelu}}, 64);
  const auto steps = TuneOnLane(1e9, *chain_, *lane_);
  ASSERT_TRUE(steps.ok()) << steps.status();
  EXPECT_TRUE(device_.runs.empty());
  EXPECT_EQ((*steps)[0][0].reason, "the only kernel on fake for this layer");
}

TEST_F(LaneTuningTest, AnAlgorithmThatItsLaunchRefusesIsLeftOutAloud) {
  device_.SetTime("dense", 1, 0);
  device_.SetTime("dense/2", 2, 0);
  device_.refused_kernel = "dense/1";
  Make({IntegerDense(8, 8)}, 1);
  const auto steps = TuneOnLane(1e9, *chain_, *lane_);
  ASSERT_TRUE(steps.ok()) << steps.status();
  EXPECT_EQ((*steps)[0][0].kernel, "dense");
  EXPECT_THAT((*steps)[0][0].reason,
              HasSubstr("left out dense/1: dense/1: this algorithm does not"));
}

TEST_F(LaneTuningTest, ALostDeviceEndsTheTuning) {
  Make({IntegerDense(8, 8)}, 1);
  device_.lasting = absl::InternalError("lost");
  EXPECT_EQ(TuneOnLane(1e9, *chain_, *lane_).status(),
            absl::InternalError("lost"));
}

TEST_F(LaneTuningTest, SmallBatchesGoWithoutCopiesWhereThoseTakeLong) {
  device_.copy_s = 1;
  Make({IntegerPath(8, 8, 2), IntegerDense(8, 8)}, 40);
  const auto ways = ChooseWays(*chain_, *lane_);
  ASSERT_TRUE(ways.ok()) << ways.status();
  ASSERT_THAT(*ways, SizeIs(6)) << "1 to 32 rows";
  EXPECT_TRUE((*ways)[2].zero_copy_in && (*ways)[2].zero_copy_out);
  EXPECT_TRUE((*ways)[2].recorded);
  ASSERT_TRUE(lane_->PrepareBatches(*ways).ok());
  const auto copied = [this] {
    return device_.copied_in_bytes + device_.copied_out_bytes;
  };
  const int64_t before = copied();
  for (const int64_t rows : {3, 40}) {
    const tensor::FloatArray x = Integers(rows * 8, 1);
    std::vector<float> y(static_cast<size_t>(rows * 8));
    ASSERT_TRUE(lane_->Begin({x.data(), rows, 8}, false).ok());
    ASSERT_TRUE(lane_->Finish({y.data(), rows, 8}, {}, 0).ok());
    EXPECT_NE(y, std::vector<float>(y.size())) << rows;
    EXPECT_EQ(copied() > before, rows == 40) << "40 rows are not recorded";
  }
}

TEST_F(LaneTuningTest, CopiesStayWhereTheyCostNothing) {
  Make({IntegerPath(8, 8, 2)}, 4);
  const auto ways = ChooseWays(*chain_, *lane_);
  ASSERT_TRUE(ways.ok()) << ways.status();
  for (const Way& way : *ways) {
    EXPECT_FALSE(way.zero_copy_in || way.zero_copy_out);
    EXPECT_TRUE(way.recorded);
  }
}

TEST_F(LaneTuningTest, BatchesThatAreNotRecordedAreQueuedAsTheyAre) {
  Make({IntegerPath(8, 8, 2)}, 40);
  const std::vector<Way> ways(6, Way{true, true, false});
  ASSERT_TRUE(lane_->PrepareBatches(ways).ok());
  device_.runs.clear();
  for (const int64_t rows : {3, 32, 33}) {
    const tensor::FloatArray x = Integers(rows * 8, 1);
    std::vector<float> y(static_cast<size_t>(rows * 8));
    ASSERT_TRUE(lane_->Begin({x.data(), rows, 8}, false).ok());
    ASSERT_TRUE(lane_->Finish({y.data(), rows, 8}, {}, 0).ok());
  }
  EXPECT_EQ(device_.replays, 0);
  EXPECT_THAT(device_.RowsOfRuns(), testing::ElementsAre(3, 32, 33));
}

TEST_F(LaneTuningTest, ALostDeviceHasNoWay) {
  Make({IntegerPath(8, 8, 2)}, 4);
  device_.lasting = absl::InternalError("lost");
  EXPECT_EQ(ChooseWays(*chain_, *lane_).status(), absl::InternalError("lost"));
}

TEST_F(LaneTuningTest, EveryLayerIsMeasuredWhereItsRowsWouldLie) {
  Make({IntegerDense(8, 12), IntegerDense(12, 20), IntegerDense(20, 8)}, 4);
  const auto steps = TuneOnLane(1e9, *chain_, *lane_);
  ASSERT_TRUE(steps.ok()) << steps.status();
  EXPECT_THAT(*steps, SizeIs(3));
  // 1, 2 and 4 rows; three layers.
  EXPECT_EQ(device_.CountRuns("dense/1"), 3 * 3 * 16);
}

}  // namespace
}  // namespace fff::engine
