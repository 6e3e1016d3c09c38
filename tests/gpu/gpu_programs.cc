// Programs of the CUDA engine: many threads, batches in pieces, chains of
// layers, several devices, a lack of memory. Without a device every test is
// skipped.
#include <algorithm>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/compile.h"
#include "server/tensor/random.h"
#include "tests/gpu/device_kernel.h"
#include "tests/parity/check.h"
#include "tests/parity/random_layer.h"
#include "tests/unit/engine/device_chain.h"

namespace fff::gpu {
namespace {

using engine::DeviceOptions;
using graph::Precision;
using parity::Result;
using parity::Tally;
using parity::Values;

constexpr int64_t kCheckedRows = 48;

TEST(Program, ServesManyThreadsAndEverySizeAtOnce) {
  if (Engine() == nullptr) GTEST_SKIP() << "no CUDA device";
  const graph::PathProblem problem = {
      100, 60, 8, 2, graph::Tie::kRight, graph::Activation::kGelu, true};
  const auto weights = parity::RandomPath(problem, Values::kNormal, 3);
  const auto kernel = MakeDeviceKernel(*Engine(), weights, DeviceOptions());
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  std::vector<std::thread> threads;
  std::vector<testing::AssertionResult> results(8, testing::AssertionSuccess());
  for (size_t t = 0; t < results.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int64_t rows = 1; rows < 200 && results[t]; rows += 13) {
        const auto x = parity::RandomRows(rows, 100, Values::kNormal, t);
        Tally tally;
        results[t] = parity::CheckPath(*weights, x,
                                       parity::RunPath(**kernel, problem, x, 1),
                                       kCheckedRows, tally);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& result : results) EXPECT_TRUE(result);
}

TEST(Program, RunsBatchesAboveALaneInPieces) {
  if (Engine() == nullptr) GTEST_SKIP() << "no CUDA device";
  const graph::PathProblem problem = {
      40, 24, 5, 1, graph::Tie::kRight, graph::Activation::kRelu, true};
  const auto weights = parity::RandomPath(problem, Values::kNormal, 3);
  DeviceOptions options;
  options.rows_max = 100;
  const auto kernel = MakeDeviceKernel(*Engine(), weights, options);
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  for (const int64_t rows : {99, 100, 101, 250, 1000}) {
    const auto x = parity::RandomRows(rows, 40, Values::kNormal, 9);
    Tally tally;
    EXPECT_TRUE(parity::CheckPath(
        *weights, x, parity::RunPath(**kernel, problem, x, 1), 2000, tally));
    EXPECT_EQ(tally.rows, rows);
  }
}

// Every kernel of `kernels` for the leaf of a master leaf, which runs in the
// scratch of the whole: outputs within `near` of the first one's.
void ExpectLeavesAlike(Precision precision,
                       const std::vector<const char*>& kernels, float near) {
  const graph::LeafProblem problem = {
      64, 24, 40, 3, graph::Tie::kRight, graph::Activation::kRelu, true};
  const auto dense = [](int64_t in, int64_t out, graph::Activation f) {
    return std::make_shared<const graph::DenseWeights>(
        *parity::RandomDense({in, out, f, true}, Values::kNormal, 5));
  };
  engine::DeviceChain chain;
  chain.input_width = 64;
  engine::MasterLeafOp master;
  master.leaf = parity::RandomLeaf(problem, Values::kNormal, 3);
  master.hidden = dense(64, 16, graph::Activation::kRelu);
  master.output = dense(16, 40, graph::Activation::kIdentity);
  master.share = 0.75F;
  chain.ops = {master};
  const auto x = parity::RandomRows(700, 64, Values::kNormal, 9);
  std::vector<float> first;
  for (const char* name : kernels) {
    DeviceOptions options;
    options.kernel_name = name;
    options.precision = precision;
    options.rows_max = 512;
    const auto program = Engine()->Build(engine::GraphOf(chain), options);
    ASSERT_TRUE(program.ok()) << program.status();
    std::vector<float> y(700 * 40);
    const engine::RouteSink none;
    const absl::Status run = engine::RunProgram(
        **program, {x.data(), 700, 64}, {y.data(), 700, 40}, {&none, 1});
    ASSERT_TRUE(run.ok()) << name << ": " << run;
    if (first.empty()) first = y;
    EXPECT_THAT(y, testing::Pointwise(testing::FloatNear(near), first)) << name;
  }
}

TEST(Program, AMasterLeafHasRoomForEveryKernelOfItsLeaf) {
  if (Engine() == nullptr) GTEST_SKIP() << "no CUDA device";
  ExpectLeavesAlike(Precision::kFp32,
                    {"leaf_walk", "leaf_row", "leaf_wide", "leaf_grouped"},
                    1e-3F);
  // The same routes; outputs differ where bf16 rounds to a neighbour.
  ExpectLeavesAlike(Precision::kBf16, {"leaf_walk", "leaf_wide", "leaf_tensor"},
                    0.06F);
}

// Both kinds of norm, whose padded columns stay zero, beside the CPU's.
TEST(Program, NormsAreThoseOfTheCpu) {
  if (Engine() == nullptr) GTEST_SKIP() << "no CUDA device";
  for (const int64_t width : {1, 7, 33, 768, 1001}) {
    for (const bool centred : {true, false}) {
      engine::LayerNormOp norm;
      norm.weight = tensor::RandomNormal(width, 2);
      if (centred) norm.bias = tensor::RandomNormal(width, 3);
      norm.epsilon = 1e-5;
      norm.centred = centred;
      engine::DeviceChain chain;
      chain.input_width = width;
      chain.ops = {norm};
      const graph::Graph graph = engine::GraphOf(chain);
      const auto x = parity::RandomRows(130, width, Values::kNormal, 9);
      DeviceOptions options;
      options.rows_max = 512;
      const auto program = Engine()->Build(graph, options);
      ASSERT_TRUE(program.ok()) << program.status();
      std::vector<float> y(static_cast<size_t>(130 * width));
      const engine::RouteSink none;
      ASSERT_TRUE(engine::RunProgram(**program, {x.data(), 130, width},
                                     {y.data(), 130, width}, {&none, 1})
                      .ok());
      std::vector<float> wanted(y.size());
      engine::ExecutionContext context(1);
      const auto cpu = engine::Compile(graph, {});
      ASSERT_TRUE((*cpu)
                      ->Run(engine::RowsBatch({x.data(), 130, width},
                                              {wanted.data(), 130, width}),
                            context)
                      .ok());
      EXPECT_THAT(y, testing::Pointwise(testing::FloatNear(2e-5F), wanted))
          << width << (centred ? " centred" : " not centred");
    }
  }
}

tensor::FloatArray Ones(int64_t size) {
  tensor::FloatBuffer buffer(size);
  std::fill(buffer.data(), buffer.data() + size, 1.0F);
  return std::move(buffer).Freeze();
}

std::shared_ptr<const graph::PathWeights> PathOfOnes(int64_t in, int64_t out,
                                                     int64_t trees = 1) {
  auto weights = std::make_shared<graph::PathWeights>();
  weights->problem = {
      in, out, 3, trees, graph::Tie::kRight, graph::Activation::kRelu, false};
  weights->x = Ones(trees * 7 * in);
  weights->y = Ones(trees * 7 * out);
  return weights;
}

std::shared_ptr<const graph::LeafWeights> LeafOfOnes(int64_t in, int64_t out) {
  auto weights = std::make_shared<graph::LeafWeights>();
  weights->problem = {
      in, 5, out, 2, graph::Tie::kRight, graph::Activation::kRelu, false};
  weights->node_weights = Ones(3 * in);
  weights->node_biases = Ones(3);
  weights->w1 = Ones(4 * in * 5);
  weights->b1 = Ones(4 * 5);
  weights->w2 = Ones(4 * 5 * out);
  return weights;
}

// Rows that overflow in the first of two layers, 12 values wide in rows of 16:
// every z of the second is +infinity, and NaN, which goes left, were the rest
// of a row not zero.
void ExpectAllGoRight(engine::DeviceChain chain, Precision precision,
                      const char* kernel, int32_t last, size_t trees = 1) {
  chain.input_width = 8;
  constexpr int64_t kRows = 70;
  const std::vector<float> x(kRows * 8, 3e38F);
  DeviceOptions options;
  options.precision = precision;
  options.kernel_name = kernel;
  const auto program = Engine()->Build(engine::GraphOf(chain), options);
  ASSERT_TRUE(program.ok()) << kernel << ": " << program.status();
  std::vector<float> y(kRows * 3);
  std::vector<int32_t> leaves(kRows * trees, -1);
  std::vector<engine::RouteSink> sinks(2);
  sinks[1].leaves = leaves.data();
  const absl::Status run = engine::RunProgram(**program, {x.data(), kRows, 8},
                                              {y.data(), kRows, 3}, sinks);
  ASSERT_TRUE(run.ok()) << kernel << ": " << run;
  EXPECT_THAT(leaves, testing::Each(last)) << kernel;
}

TEST(Program, WhatOverflowsStaysOutOfThePaddingOfARow) {
  if (Engine() == nullptr) GTEST_SKIP() << "no CUDA device";
  engine::DeviceChain paths;
  paths.ops = {PathOfOnes(8, 12), PathOfOnes(12, 3)};
  for (const char* kernel : {"path_walk", "path_row", "path_tensor"}) {
    if (kernel == std::string("path_tensor") && LacksSharedMemory()) continue;
    ExpectAllGoRight(paths, Precision::kBf16, kernel, 3);
  }
  engine::DeviceChain trees;
  trees.ops = {PathOfOnes(8, 12, 2), PathOfOnes(12, 3, 2)};
  for (const char* kernel : {"path_walk", "path_masked"}) {
    ExpectAllGoRight(trees, Precision::kBf16, kernel, 3, 2);
  }
  engine::DeviceChain leaves;
  leaves.ops = {LeafOfOnes(8, 12), LeafOfOnes(12, 3)};
  for (const char* kernel :
       {"leaf_walk", "leaf_row", "leaf_wide", "leaf_grouped"}) {
    ExpectAllGoRight(leaves, Precision::kFp32, kernel, 3);
    ExpectAllGoRight(leaves, Precision::kBf16, kernel, 3);
  }
  ExpectAllGoRight(leaves, Precision::kBf16, "leaf_tensor", 3);
}

// A copy on each device of a machine. Each answers with the same bits.
// They are all of one kind here; other kinds may choose other kernels.
TEST(Devices, AnswerAlike) {
  const size_t count = Engine() == nullptr ? 0 : Engine()->devices().size();
  if (count < 2) GTEST_SKIP() << "fewer than two CUDA devices";
  const graph::PathProblem problem = {
      100, 60, 8, 1, graph::Tie::kRight, graph::Activation::kGelu, true};
  const auto weights = parity::RandomPath(problem, Values::kNormal, 3);
  const auto make = [&](std::vector<int> devices) {
    DeviceOptions options;
    options.kernel_name = "path_walk";
    options.lanes = 1;
    options.rows_max = 100;
    options.devices = std::move(devices);
    return MakeDeviceKernel(*Engine(), weights, options);
  };
  const auto x = parity::RandomRows(250, 100, Values::kNormal, 5);
  std::vector<int> all;
  std::vector<Result> alone;
  for (size_t device = 0; device < count; ++device) {
    all.push_back(static_cast<int>(device));
    const auto kernel = make({static_cast<int>(device)});
    ASSERT_TRUE(kernel.ok()) << kernel.status();
    alone.push_back(parity::RunPath(**kernel, problem, x, 1));
    ASSERT_TRUE((*kernel)->status().ok()) << (*kernel)->status();
    EXPECT_TRUE(parity::SameBits(alone[device].y, alone[0].y)) << device;
  }
  const auto together = make(all);
  ASSERT_TRUE(together.ok()) << together.status();
  // With one lane per device, more callers than devices keep all of them busy.
  std::vector<std::thread> threads;
  std::vector<int> equal(4 * count);
  for (size_t t = 0; t < equal.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const Result mine = parity::RunPath(**together, problem, x, 1);
        equal[t] += parity::SameBits(mine.y, alone[0].y) &&
                    mine.leaves == alone[0].leaves;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(equal, testing::Each(50));
}

// Where no kernel shares the order of sums, one still serves all batch sizes
// before an FFF layer.
TEST(Program, OneKernelServesWideLeavesBeforeAnFffLayer) {
  if (Engine() == nullptr) GTEST_SKIP() << "no CUDA device";
  engine::DeviceChain chain;
  chain.input_width = 16;
  chain.ops = {parity::RandomLeaf({16, 9000, 16, 1, graph::Tie::kRight,
                                   graph::Activation::kRelu, true},
                                  Values::kNormal, 3),
               PathOfOnes(16, 8)};
  DeviceOptions options;
  options.precision = Precision::kBf16;
  options.rows_max = 1024;
  const auto program = Engine()->Build(engine::GraphOf(chain), options);
  ASSERT_TRUE(program.ok()) << program.status();
  for (const engine::KernelPlan::Step& step : (*program)->report()[0].steps) {
    EXPECT_EQ(step.kernel, "leaf_grouped") << step.rows_min;
  }
}

TEST(Program, SaysWhenDeviceMemoryDoesNotSuffice) {
  if (Engine() == nullptr) GTEST_SKIP() << "no CUDA device";
  const graph::PathProblem problem = {
      64, 64, 3, 1, graph::Tie::kRight, graph::Activation::kRelu, true};
  DeviceOptions options;
  // One row per lane of 2^24 rows: tens of gigabytes of routes and scratch.
  auto wide = std::make_shared<graph::DenseWeights>();
  wide->problem = {8, int64_t{1} << 22, graph::Activation::kIdentity, false};
  wide->w = parity::RandomArray(int64_t{8} << 22, Values::kOnePath, 1,
                                *std::make_unique<std::mt19937_64>(1));
  options.rows_max = int64_t{1} << 24;
  engine::DeviceChain chain;
  chain.input_width = 8;
  // The intermediate of 2^22 floats per row, a lane's worth of narrow rows.
  auto narrow = std::make_shared<graph::DenseWeights>();
  narrow->problem = {int64_t{1} << 22, 8, graph::Activation::kIdentity, false};
  narrow->w = wide->w;
  chain.ops = {std::shared_ptr<const graph::DenseWeights>(wide),
               std::shared_ptr<const graph::DenseWeights>(narrow)};
  const auto program = Engine()->Build(engine::GraphOf(chain), options);
  EXPECT_EQ(program.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(program.status().message()),
              testing::HasSubstr("bytes of device memory"));
  // And the device is as good as before.
  const auto weights = parity::RandomPath(problem, Values::kNormal, 3);
  EXPECT_TRUE(MakeDeviceKernel(*Engine(), weights, DeviceOptions()).ok());
}

}  // namespace
}  // namespace fff::gpu
