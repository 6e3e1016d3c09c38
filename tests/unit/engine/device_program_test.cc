// Programs on the fake device: pieces, routes, recordings, replicas, failures
// and memory.
#include <cmath>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/device/program.h"
#include "tests/unit/engine/device_chain.h"
#include "tests/unit/engine/fake_device.h"
#include "tests/unit/engine/small_layers.h"

namespace fff::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class DeviceProgramTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<DeviceProgram>> Build(
      std::vector<DeviceOp> ops, int64_t input_width,
      const DeviceOptions& options) {
    DeviceChain chain;
    chain.input_width = input_width;
    chain.ops = std::move(ops);
    return Program::Make(GraphOf(chain), options, {&device_, &second_},
                         copies_);
  }
  static DeviceOptions Lanes(int lanes, int64_t rows_max) {
    DeviceOptions options;
    options.lanes = lanes;
    options.rows_max = rows_max;
    options.tuning_seconds = 0;
    return options;
  }
  // All of x through one path layer, with leaves and margins.
  static Answers RunPath(const DeviceProgram& program, const PathProblem& p,
                         const tensor::FloatArray& x) {
    const int64_t rows = x.size() / p.input_width;
    Answers got = RoomFor(rows, p.output_width, p.trees, p.levels);
    const RouteSink sink = {got.leaves.data(), got.margins.data()};
    const absl::Status run =
        RunProgram(program, {x.data(), rows, p.input_width},
                   {got.y.data(), rows, p.output_width}, {&sink, 1});
    EXPECT_TRUE(run.ok()) << run;
    return got;
  }
  static absl::Status RunPlain(const DeviceProgram& program, int64_t in,
                               int64_t out, int64_t rows) {
    const tensor::FloatArray x = Integers(rows * in, 4);
    std::vector<float> y(static_cast<size_t>(rows * out));
    return RunProgram(program, {x.data(), rows, in}, {y.data(), rows, out}, {});
  }

  HostCopies copies_{2};
  FakeDevice device_;
  FakeDevice second_;
};

void ExpectSame(const Answers& got, const Answers& want) {
  EXPECT_EQ(got.y, want.y);
  EXPECT_EQ(got.leaves, want.leaves);
  EXPECT_EQ(got.margins, want.margins);
}

TEST_F(DeviceProgramTest, BatchesOfEverySizeGetTheirRowsRoutesAndMargins) {
  const auto weights = IntegerPath(10, 13, 3, 2);
  const auto program = Build({weights}, 10, Lanes(2, 20));
  ASSERT_TRUE(program.ok()) << program.status();
  for (const int64_t rows : {1, 2, 3, 15, 16, 17, 20, 21, 40, 59}) {
    const tensor::FloatArray x = Integers(rows * 10, rows);
    SCOPED_TRACE(rows);
    ExpectSame(RunPath(**program, weights->problem, x), Expected(weights, x));
  }
}

TEST_F(DeviceProgramTest, WidthsWithoutPaddingAreCopiedAsOneBlock) {
  const auto weights = IntegerPath(16, 8, 2);
  const auto program = Build({weights}, 16, Lanes(1, 5));
  ASSERT_TRUE(program.ok()) << program.status();
  const tensor::FloatArray x = Integers(12 * 16, 3);
  ExpectSame(RunPath(**program, weights->problem, x), Expected(weights, x));
}

TEST_F(DeviceProgramTest, RowsInBf16ComeBackAsFloats) {
  const auto weights = IntegerPath(6, 5, 2);
  DeviceOptions options = Lanes(1, 8);
  options.precision = Precision::kBf16;
  const auto program = Build({weights}, 6, options);
  ASSERT_TRUE(program.ok()) << program.status();
  const tensor::FloatArray x = Integers(8 * 6, 3);
  ExpectSame(RunPath(**program, weights->problem, x), Expected(weights, x));
}

TEST_F(DeviceProgramTest, LargeBatchesAreCutIntoPiecesOfALane) {
  const auto weights = IntegerPath(8, 8, 2);
  const auto program = Build({weights}, 8, Lanes(2, 100));
  ASSERT_TRUE(program.ok()) << program.status();
  device_.runs.clear();
  const tensor::FloatArray x = Integers(250 * 8, 3);
  ExpectSame(RunPath(**program, weights->problem, x), Expected(weights, x));
  // The last piece, of 50 rows, replays a recording.
  EXPECT_THAT(device_.RowsOfRuns(), ElementsAre(100, 100, 64));
}

TEST_F(DeviceProgramTest, ALargeBatchIsCutSoThatItsPiecesOverlap) {
  // 4 KiB per row: pieces of 256 rows and more.
  const auto weights = IntegerDense(1024, 8);
  const auto program = Build({weights}, 1024, Lanes(2, 1000));
  ASSERT_TRUE(program.ok()) << program.status();
  device_.runs.clear();
  ASSERT_TRUE(RunPlain(**program, 1024, 8, 256).ok());
  ASSERT_TRUE(RunPlain(**program, 1024, 8, 600).ok());
  ASSERT_TRUE(RunPlain(**program, 1024, 8, 2000).ok());
  ASSERT_TRUE(RunPlain(**program, 1024, 8, 4400).ok());
  // The last: no more rows than a lane holds.
  EXPECT_THAT(device_.RowsOfRuns(),
              ElementsAre(256, 256, 256, 88, 500, 500, 500, 500, 1000, 1000,
                          1000, 1000, 400));
}

TEST_F(DeviceProgramTest, PiecesOnAnyNumberOfLanesAnswerAlike) {
  const auto weights = IntegerPath(8, 8, 2);
  for (const int lanes_per_batch : {1, 2, 3, 9}) {
    DeviceOptions options = Lanes(3, 10);
    options.lanes_per_batch = lanes_per_batch;
    const auto program = Build({weights}, 8, options);
    ASSERT_TRUE(program.ok()) << program.status();
    for (const int64_t rows : {5, 10, 11, 35, 100}) {
      const tensor::FloatArray x = Integers(rows * 8, rows);
      SCOPED_TRACE(rows);
      ExpectSame(RunPath(**program, weights->problem, x), Expected(weights, x));
    }
  }
}

TEST_F(DeviceProgramTest, SmallBatchesReplayTheNextPowerOfTwo) {
  const auto weights = IntegerPath(8, 8, 2);
  const auto program = Build({weights}, 8, Lanes(1, 200));
  ASSERT_TRUE(program.ok()) << program.status();
  device_.runs.clear();
  for (const int64_t rows : {1, 3, 8, 33, 64, 65}) {
    ASSERT_TRUE(RunPlain(**program, 8, 8, rows).ok());
  }
  EXPECT_THAT(device_.RowsOfRuns(), ElementsAre(1, 4, 8, 64, 64, 65));
  EXPECT_EQ(device_.replays, 5) << "65 rows are queued one by one";
}

TEST_F(DeviceProgramTest, RecordingsCoverNoMoreRowsThanALane) {
  const auto weights = IntegerPath(8, 8, 2);
  const auto program = Build({weights}, 8, Lanes(1, 5));
  ASSERT_TRUE(program.ok()) << program.status();
  device_.runs.clear();
  ASSERT_TRUE(RunPlain(**program, 8, 8, 5).ok());
  ASSERT_TRUE(RunPlain(**program, 8, 8, 3).ok());
  EXPECT_THAT(device_.RowsOfRuns(), ElementsAre(5, 4));
}

TEST_F(DeviceProgramTest, MarginsLeaveTheDeviceOnlyWhereTheyAreAskedFor) {
  const auto weights = IntegerPath(8, 8, 4);
  const auto program = Build({weights}, 8, Lanes(1, 64));
  ASSERT_TRUE(program.ok()) << program.status();
  const auto copied = [&](bool leaves, bool margins) {
    const tensor::FloatArray x = Integers(64 * 8, 3);
    Answers got = RoomFor(64, 8, 1, 4);
    const RouteSink sink = {leaves ? got.leaves.data() : nullptr,
                            margins ? got.margins.data() : nullptr};
    device_.copied_out_bytes = 0;
    EXPECT_TRUE(RunProgram(**program, {x.data(), 64, 8}, {got.y.data(), 64, 8},
                           {&sink, 1})
                    .ok());
    return device_.copied_out_bytes;
  };
  EXPECT_EQ(copied(false, false), 64 * (8 + 1) * 4);
  EXPECT_EQ(copied(true, false), 64 * (8 + 1) * 4);
  EXPECT_EQ(copied(true, true), 64 * (8 + 1 + 4) * 4);
}

TEST_F(DeviceProgramTest, LayersInSequenceMeetTheirOwnSinks) {
  const auto first = IntegerPath(6, 9, 3, 2);
  const auto second = IntegerLeaf(9, 4, 7, 2);
  const auto program = Build(
      {first, ActivationOp{Activation::kRelu}, second, IntegerDense(7, 3)}, 6,
      Lanes(2, 10));
  ASSERT_TRUE(program.ok()) << program.status();
  const tensor::FloatArray x = Integers(25 * 6, 3);
  Answers path = RoomFor(25, 9, 2, 3);
  Answers leaf = RoomFor(25, 7, 1, 2);
  std::vector<float> y(25 * 3);
  const std::vector<RouteSink> sinks = {
      {path.leaves.data(), nullptr},
      {},
      {leaf.leaves.data(), leaf.margins.data()},
      {}};
  ASSERT_TRUE(
      RunProgram(**program, {x.data(), 25, 6}, {y.data(), 25, 3}, sinks).ok());
  const Answers want_path = Expected(first, x);
  std::vector<float> between = want_path.y;
  for (float& value : between) value = std::max(value, 0.0F);
  const Answers want_leaf =
      Expected(second, tensor::FloatArray::CopyOf(between));
  EXPECT_EQ(path.leaves, want_path.leaves);
  EXPECT_EQ(leaf.leaves, want_leaf.leaves);
  EXPECT_EQ(leaf.margins, want_leaf.margins);
  EXPECT_EQ(y[0], [&] {
    const auto dense = IntegerDense(7, 3);
    float sum = dense->bias[0];
    for (size_t i = 0; i < 7; ++i) {
      sum += dense->w[static_cast<int64_t>(i)] * want_leaf.y[i];
    }
    return sum;
  }());
}

TEST_F(DeviceProgramTest, AMasterLeafBlendsItsLeafWithTheDensePart) {
  MasterLeafOp op;
  op.leaf = IntegerLeaf(6, 4, 5, 2);
  op.hidden = IntegerDense(6, 3, Activation::kRelu);
  op.output = IntegerDense(3, 5);
  op.share = 0.75F;
  const auto program = Build({op}, 6, Lanes(1, 8));
  ASSERT_TRUE(program.ok()) << program.status();
  const auto parts = Build({op.hidden, op.output}, 6, Lanes(1, 8));
  ASSERT_TRUE(parts.ok()) << parts.status();
  const tensor::FloatArray x = Integers(8 * 6, 3);
  std::vector<float> y(8 * 5);
  std::vector<float> dense(8 * 5);
  std::vector<int32_t> leaves(8);
  const RouteSink sink = {leaves.data(), nullptr};
  ASSERT_TRUE(
      RunProgram(**program, {x.data(), 8, 6}, {y.data(), 8, 5}, {&sink, 1})
          .ok());
  ASSERT_TRUE(
      RunProgram(**parts, {x.data(), 8, 6}, {dense.data(), 8, 5}, {}).ok());
  const Answers want = Expected(op.leaf, x);
  EXPECT_EQ(leaves, want.leaves);
  for (size_t i = 0; i < y.size(); ++i) {
    EXPECT_EQ(y[i], 0.75F * want.y[i] + 0.25F * dense[i]) << i;
  }
}

TEST_F(DeviceProgramTest, LayerNormHasItsWeightsOnTheDevice) {
  LayerNormOp op;
  op.weight = tensor::FloatArray::CopyOf({1, 2, 1, 2});
  op.bias = tensor::FloatArray::CopyOf({0, 0, 5, 5});
  const auto program = Build({op}, 4, Lanes(1, 1));
  ASSERT_TRUE(program.ok()) << program.status();
  const std::vector<float> x = {1, -1, 1, -1};
  std::vector<float> y(4);
  ASSERT_TRUE(
      RunProgram(**program, {x.data(), 1, 4}, {y.data(), 1, 4}, {}).ok());
  EXPECT_THAT(y, ElementsAre(1, -2, 6, 3));
}

TEST_F(DeviceProgramTest, ANormThatIsNotCentredIsNoneOnTheDevice) {
  LayerNormOp op;
  op.weight = tensor::FloatArray::CopyOf({1, 2, 1, 2});
  op.centred = false;
  const auto program = Build({op}, 4, Lanes(1, 1));
  ASSERT_TRUE(program.ok()) << program.status();
  const std::vector<float> x = {3, 1, 1, 1};
  std::vector<float> y(4);
  ASSERT_TRUE(
      RunProgram(**program, {x.data(), 1, 4}, {y.data(), 1, 4}, {}).ok());
  const float rms = std::sqrt(3.0F);
  EXPECT_THAT(y, testing::Pointwise(testing::FloatNear(1e-6F),
                                    {3 / rms, 2 / rms, 1 / rms, 2 / rms}));
}

TEST_F(DeviceProgramTest, NoRowsAreNoWork) {
  const auto program = Build({IntegerPath(8, 8, 2)}, 8, Lanes(1, 8));
  ASSERT_TRUE(program.ok()) << program.status();
  device_.runs.clear();
  EXPECT_TRUE(RunProgram(**program, {nullptr, 0, 8}, {nullptr, 0, 8}, {}).ok());
  EXPECT_TRUE(device_.runs.empty());
}

TEST_F(DeviceProgramTest, ReplicasTakeTurns) {
  DeviceOptions options = Lanes(1, 16);
  options.devices = {0, 1};
  const auto program = Build({IntegerPath(8, 8, 2)}, 8, options);
  ASSERT_TRUE(program.ok()) << program.status();
  device_.runs.clear();
  second_.runs.clear();
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(RunPlain(**program, 8, 8, 4).ok());
  }
  EXPECT_EQ(device_.runs.size(), 3U);
  EXPECT_EQ(second_.runs.size(), 3U);
}

TEST_F(DeviceProgramTest, ReplicasAnswerAlikeFromManyThreads) {
  // The fake's counters are for one thread at a time, so one lane per device.
  DeviceOptions options = Lanes(1, 16);
  options.devices = {0, 1};
  const auto weights = IntegerPath(8, 8, 3);
  const auto program = Build({weights}, 8, options);
  ASSERT_TRUE(program.ok()) << program.status();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        const tensor::FloatArray x = Integers(5 * 8, 20 * t + i);
        ExpectSame(RunPath(**program, weights->problem, x),
                   Expected(weights, x));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(DeviceProgramTest, ADeviceThatIsNotThereIsNamed) {
  for (const int number : {-1, 2}) {
    DeviceOptions options;
    options.devices = {0, number};
    const auto program = Build({IntegerPath(8, 8, 2)}, 8, options);
    EXPECT_EQ(program.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(std::string(program.status().message()),
              "no device fake:" + std::to_string(number) +
                  "; there are 2, numbered from 0");
  }
}

TEST_F(DeviceProgramTest, ALastingFailureIsRememberedForGood) {
  const auto program = Build({IntegerPath(8, 8, 2)}, 8, Lanes(2, 16));
  ASSERT_TRUE(program.ok()) << program.status();
  EXPECT_TRUE((*program)->health().ok());
  device_.lasting = absl::InternalError("fell off the bus");
  const absl::Status first = RunPlain(**program, 8, 8, 50);
  EXPECT_EQ(first.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(first.message()),
              HasSubstr("evaluating a batch: fell off the bus"));
  device_.lasting = absl::InternalError("something else");
  device_.runs.clear();
  EXPECT_EQ(RunPlain(**program, 8, 8, 4), first);
  EXPECT_EQ((*program)->health(), first);
  EXPECT_TRUE(device_.runs.empty()) << "a lost device gets no more work";
  device_.lasting = absl::OkStatus();
}

TEST_F(DeviceProgramTest, ALaunchThatFailsEndsTheProgram) {
  const auto program = Build({IntegerPath(8, 8, 2)}, 8, Lanes(1, 128));
  ASSERT_TRUE(program.ok()) << program.status();
  device_.refused_kernel = "path_walk";
  const absl::Status failed = RunPlain(**program, 8, 8, 100);
  EXPECT_EQ(failed,
            absl::InternalError("path_walk: this algorithm does not fit"));
  device_.refused_kernel.clear();
  EXPECT_EQ(RunPlain(**program, 8, 8, 100), failed);
}

TEST_F(DeviceProgramTest, ALackOfMemoryNamesWantedAndFreeAndReleasesAll) {
  const auto whole = Build({IntegerPath(8, 8, 2)}, 8, Lanes(2, 64));
  ASSERT_TRUE(whole.ok()) << whole.status();
  const int allocations = device_.allocations;
  const int64_t used = device_.live_bytes;
  EXPECT_GT(allocations, 8);
  for (int nth = 1; nth <= allocations; ++nth) {
    device_.allocation_that_fails = nth;
    const auto program = Build({IntegerPath(8, 8, 2)}, 8, Lanes(2, 64));
    if (program.ok()) {
      // Copies for a kernel that others can stand in for.
      EXPECT_EQ(device_.allocation_that_fails, 0);
      continue;
    }
    EXPECT_EQ(program.status().code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(program.status().message()),
                testing::ContainsRegex("fake:0: .*allocating [0-9]+ bytes, "
                                       "[0-9]+ free"));
    EXPECT_EQ(device_.live_bytes, used) << nth;
    EXPECT_EQ(device_.streams, 2);
  }
}

TEST_F(DeviceProgramTest, TheSecondDevicesLackOfMemoryReleasesTheFirst) {
  DeviceOptions options = Lanes(1, 64);
  options.devices = {0, 1};
  second_.allocation_that_fails = 3;
  const auto program = Build({IntegerPath(8, 8, 2)}, 8, options);
  EXPECT_EQ(program.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(program.status().message()), HasSubstr("fake:1: "));
  EXPECT_EQ(device_.live_bytes, 0);
  EXPECT_EQ(second_.live_bytes, 0);
}

TEST_F(DeviceProgramTest, DeviceBytesAreThoseOfWeightsAndLanes) {
  const auto one = Build({IntegerPath(8, 8, 2)}, 8, Lanes(1, 64));
  const auto three = Build({IntegerPath(8, 8, 2)}, 8, Lanes(3, 64));
  ASSERT_TRUE(one.ok() && three.ok());
  // Three nodes of X, Y and a bias (padded), and what path_sorted keeps. A
  // lane: rows in, and out with leaf and margins; the sort of two buckets.
  const int64_t weights = 3 * 8 * 4 * 2 + 8 * 4 + 4096;
  const int64_t lane = (*one)->device_bytes() - weights;
  EXPECT_GT(lane, 64 * (8 + 8 + 1 + 2) * 4 - 1);
  EXPECT_EQ((*three)->device_bytes(), weights + 3 * lane);
}

TEST_F(DeviceProgramTest, ALaneHoldsAtLeast64RowsHoweverWideTheyAre) {
  DeviceOptions options = Lanes(1, 0);
  const auto wide = Build({IntegerDense(1 << 18, 8)}, 1 << 18, options);
  // 64 rows of a mebibyte each are more than the device has.
  EXPECT_EQ(wide.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(wide.status().message()),
              HasSubstr("allocating 67108864 bytes"));
}

TEST_F(DeviceProgramTest, StepsSayWhichKernelServesWhichBatchSize) {
  device_.SetTime("path_walk", 0, 1);
  device_.SetTime("path_sorted", 24, 0.1);
  DeviceOptions options = Lanes(1, 64);
  options.tuning_seconds = 1e9;
  const auto program = Build({IntegerPath(8, 8, 2)}, 8, options);
  ASSERT_TRUE(program.ok()) << program.status();
  const std::vector<KernelPlan::Step>& steps = (*program)->report()[0].steps;
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(steps[0].kernel, "path_walk");
  EXPECT_EQ(steps[1].kernel, "path_sorted");
  EXPECT_EQ(steps[1].rows_min, 32);
  EXPECT_THAT(steps[1].reason, HasSubstr("measured: "));
  device_.runs.clear();
  ASSERT_TRUE(RunPlain(**program, 8, 8, 40).ok());
  EXPECT_EQ(device_.CountRuns("path_sorted"), 1);
}

using DeviceProgramDeathTest = DeviceProgramTest;

TEST_F(DeviceProgramDeathTest, WidthsAndSinksThatDoNotFitAreBugs) {
  const auto program = Build({IntegerPath(8, 6, 2)}, 8, Lanes(1, 16));
  ASSERT_TRUE(program.ok()) << program.status();
  EXPECT_DEATH(RunPlain(**program, 9, 6, 1).IgnoreError(), "check failed");
  EXPECT_DEATH(RunPlain(**program, 8, 7, 1).IgnoreError(), "check failed");
  const std::vector<float> x(8);
  std::vector<float> y(6);
  const std::vector<RouteSink> two(2);
  EXPECT_DEATH(RunProgram(**program, {x.data(), 1, 8}, {y.data(), 1, 6}, two)
                   .IgnoreError(),
               "check failed: routes");
}

}  // namespace
}  // namespace fff::engine
