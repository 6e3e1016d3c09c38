#include "server/benchmark/runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "server/benchmark/baselines.h"
#include "server/benchmark/case.h"
#include "server/benchmark/case_models.h"
#include "server/benchmark/feedforward_share.h"
#include "server/benchmark/touched.h"

namespace fff::benchmark {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

CaseSpec Spec(absl::string_view text) {
  const auto spec = ParseCase("probe", text);
  EXPECT_TRUE(spec.ok()) << spec.status();
  return *spec;
}

CaseModels Build(const CaseSpec& spec, uint64_t seed = 1) {
  auto models = BuildCaseModels(spec, seed, {});
  EXPECT_TRUE(models.ok()) << models.status();
  return *std::move(models);
}

constexpr char kLeaf[] =
    "convention: fastfeedforward\ninput_width: 24\nleaf_width: 3\n"
    "output_width: 5\ndepth: 3\n";
constexpr char kTrees[] =
    "convention: ultrafastbert\ninput_width: 24\noutput_width: 6\ndepth: 2\n"
    "trees: 3\n";

BenchmarkOptions Quick(std::vector<int64_t> rows) {
  BenchmarkOptions options;
  options.batch_rows = std::move(rows);
  options.seconds_per_case = 0.001;
  options.probe_machine = false;
  return options;
}

TEST(RunnerTest, MeasuresBothSidesAtEveryBatchSize) {
  const CaseModels models = Build(Spec(kLeaf));
  const auto report =
      RunBenchmark(*models.fff, models.dense, Quick({1, 32}), nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->cases.size(), 2U);
  for (const BenchmarkCase& one : report->cases) {
    for (const Measurement* side : {&one.fff, &one.dense}) {
      EXPECT_GE(side->latency.samples, kSamplesMin);
      EXPECT_GE(side->repetitions, 1);
      EXPECT_GT(side->latency.min_s, 0);
      EXPECT_LE(side->latency.min_s, side->latency.p10_s);
      EXPECT_LE(side->latency.p10_s, side->latency.median_s);
      EXPECT_LE(side->latency.median_s, side->latency.p90_s);
      EXPECT_LE(side->latency.p90_s, side->latency.p99_s);
      EXPECT_GT(side->rows_per_s, 0);
      EXPECT_GT(side->gflops, 0);
      EXPECT_GT(side->gbps, 0);
      EXPECT_FALSE(side->kernel.empty());
    }
    EXPECT_DOUBLE_EQ(one.speedup,
                     one.dense.latency.median_s / one.fff.latency.median_s);
  }
  EXPECT_EQ(report->cases[1].rows, 32);
}

TEST(RunnerTest, BothFairBaselinesStandBesideAChosenOpponent) {
  const CaseModels models = Build(Spec(std::string(kLeaf) + "dense: linear\n"));
  const auto report =
      RunBenchmark(*models.fff, models.dense, Quick({1, 8}), nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->dense_kind, BaselineKind::kChosen);
  EXPECT_EQ(report->baselines_left_out, "");
  ASSERT_EQ(report->other_baselines.size(), 2U);
  // 8 leaves of 3; 3 decisions and a leaf of 3.
  const Baseline& neurons = report->other_baselines[0];
  EXPECT_EQ(neurons.kind, BaselineKind::kNeurons);
  EXPECT_THAT(neurons.description, HasSubstr("all 24"));
  EXPECT_NEAR(neurons.flops_per_row, 2 * 24 * (24 + 5), 3 * (24 + 5));
  const Baseline& used = report->other_baselines[1];
  EXPECT_EQ(used.kind, BaselineKind::kInferenceWidth);
  EXPECT_THAT(used.description, HasSubstr("6 neurons"));
  EXPECT_NEAR(used.flops_per_row, 2 * 6 * (24 + 5), 3 * (6 + 5));
  for (const BenchmarkCase& one : report->cases) {
    ASSERT_EQ(one.other_baselines.size(), 2U);
    for (const Measurement& other : one.other_baselines) {
      EXPECT_GE(other.latency.samples, kSamplesMin);
      EXPECT_GT(other.latency.median_s, 0);
      EXPECT_FALSE(other.kernel.empty());
    }
  }
}

TEST(RunnerTest, WhatTheModelIsHeldAgainstAnywayIsNotMeasuredTwice) {
  const CaseModels models = Build(Spec(kTrees));
  const auto report =
      RunBenchmark(*models.fff, models.dense, Quick({1}), nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->dense_kind, BaselineKind::kNeurons);
  ASSERT_EQ(report->other_baselines.size(), 1U);
  // 3 trees of 3 levels.
  EXPECT_THAT(report->other_baselines[0].description, HasSubstr("9 neurons"));
}

TEST(RunnerTest, OtherBaselinesCanBeLeftOut) {
  const CaseModels models = Build(Spec(kLeaf));
  BenchmarkOptions options = Quick({1});
  options.other_baselines = false;
  const auto report = RunBenchmark(*models.fff, models.dense, options, nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->other_baselines.empty());
  EXPECT_TRUE(report->cases[0].other_baselines.empty());
}

// A linear layer, an FFF layer that changes the width, a linear layer.
constexpr char kNetwork[] =
    "config: {\"layers\": [{\"type\": \"linear\", \"prefix\": \"a.\"},\n"
    "config: {\"type\": \"fff\", \"convention\": \"sap-fff\", \"prefix\":"
    " \"f.\"},\n"
    "config: {\"type\": \"linear\", \"prefix\": \"b.\"}]}\n"
    "tensor: a.weight 12,7\ntensor: f.X 7,12\ntensor: f.Y 7,9 3\n"
    "tensor: b.weight 4,9\ntensor: b.bias 4 ones\n";

TEST(RunnerTest, ANetworkIsAlsoMeasuredWithoutItsFffLayers) {
  const CaseModels models = Build(Spec(kNetwork));
  EXPECT_EQ(models.dense.kind, BaselineKind::kNeurons);
  const auto report =
      RunBenchmark(*models.fff, models.dense, Quick({1, 8}), nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->other_baselines.size(), 2U);
  const Baseline& without = report->other_baselines[1];
  EXPECT_EQ(without.kind, BaselineKind::kWithoutFeedforward);
  EXPECT_EQ(without.description, "the network without its 1 FFF layer");
  EXPECT_DOUBLE_EQ(without.flops_per_row, 2 * 12 * 7 + 2 * 9 * 4);
  for (const BenchmarkCase& one : report->cases) {
    EXPECT_TRUE(ShareOf(*report, one).has_value());
  }
}

TEST(RunnerTest, SaysWhereTheTimeOfANetworkGoes) {
  const CaseModels models = Build(Spec(kNetwork));
  const auto report =
      RunBenchmark(*models.fff, models.dense, Quick({8}), nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  const std::vector<LayerTime>& fff = report->cases[0].fff.layers;
  const std::vector<LayerTime>& dense = report->cases[0].dense.layers;
  ASSERT_EQ(fff.size(), 3U);
  ASSERT_EQ(dense.size(), 3U);
  EXPECT_EQ(fff[0].layer, "linear: 7 -> 12 without bias");
  EXPECT_THAT(fff[1].layer, HasSubstr("fff: sap-fff: 12 -> 9"));
  EXPECT_THAT(dense[1].layer, HasSubstr("linear: 12 -> "));
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(fff[i].count, 1);
    EXPECT_EQ(fff[i].routes, i == 1);
    EXPECT_GT(fff[i].seconds, 0);
    EXPECT_GT(dense[i].seconds, 0);
  }
}

TEST(RunnerTest, OfALayerAloneThereIsNothingToDivide) {
  const CaseModels models = Build(Spec(kLeaf));
  const auto report =
      RunBenchmark(*models.fff, models.dense, Quick({8}), nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->cases[0].fff.layers.empty());
}

// A row of 64 tokens meets the kernel that is chosen for 64 rows.
TEST(RunnerTest, NamesTheKernelsThatTokensMeet) {
  const CaseModels models =
      Build(Spec("config: {\"input\": {\"shape\": [64, 256]}, \"layers\":\n"
                 "config: [{\"type\": \"fff\", \"convention\": \"sap-fff\","
                 " \"prefix\": \"f.\"}]}\n"
                 "tensor: f.X 1023,256\ntensor: f.Y 1023,256 10\n"));
  const auto steps = models.fff->KernelSteps(0);
  std::string of_one;
  std::string of_64;
  for (const auto& step : steps) {
    if (step.rows_min <= 1) of_one = step.kernel;
    if (step.rows_min <= 64) of_64 = step.kernel;
  }
  EXPECT_NE(of_one, of_64);
  EXPECT_EQ(models.fff->KernelFor(0, 1), of_64);
}

TEST(RunnerTest, ANetworkMayBeHeldAgainstDenseLayersOfAWidth) {
  const CaseModels models =
      Build(Spec(std::string(kNetwork) + "dense: width 5\n"));
  EXPECT_EQ(models.dense.kind, BaselineKind::kChosen);
  EXPECT_THAT(models.dense.description, HasSubstr("of 5 neurons"));
  EXPECT_DOUBLE_EQ(models.dense.model->cost().flops,
                   2 * 12 * 7 + 2 * 5 * (12 + 9) + 2 * 9 * 4);
}

TEST(BaselinesTest, ALayerAloneHasNothingLeftWithoutIt) {
  const CaseModels models = Build(Spec(kTrees));
  const auto baselines = BuildBaselines(*models.fff, BaselineKind::kNeurons, 1);
  ASSERT_TRUE(baselines.ok()) << baselines.status();
  ASSERT_EQ(baselines->opponents.size(), 1U);
  EXPECT_EQ(baselines->opponents[0].kind, BaselineKind::kInferenceWidth);
}

TEST(BaselinesTest, AModelWithoutATreeHasNoneAndSaysSo) {
  const CaseModels models = Build(Spec(kLeaf));
  const auto baselines =
      BuildBaselines(*models.dense.model, BaselineKind::kTrained, 1);
  ASSERT_TRUE(baselines.ok()) << baselines.status();
  EXPECT_TRUE(baselines->opponents.empty());
  EXPECT_THAT(baselines->left_out, HasSubstr("no FFF layer"));
}

TEST(BaselinesTest, WeightsAboveTheBoundAreLeftOutAndNamed) {
  const CaseModels models = Build(Spec(kLeaf));
  // 24 neurons of 24 + 5 weights; 6 of them used.
  const auto baselines = BuildBaselines(*models.fff, BaselineKind::kChosen, 1,
                                        /*weights_bytes_max=*/1000);
  ASSERT_TRUE(baselines.ok()) << baselines.status();
  ASSERT_EQ(baselines->opponents.size(), 1U);
  EXPECT_EQ(baselines->opponents[0].kind, BaselineKind::kInferenceWidth);
  EXPECT_THAT(baselines->left_out, HasSubstr("neurons: its weights"));
}

TEST(RunnerTest, SaysWhatItRanOn) {
  const CaseModels models = Build(Spec(kLeaf));
  BenchmarkOptions options = Quick({1});
  options.threads = 2;
  options.seed = 9;
  options.probe_machine = true;
  const auto report = RunBenchmark(*models.fff, models.dense, options, nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->threads, 2);
  EXPECT_EQ(report->seed, 9U);
  EXPECT_EQ(report->device, "cpu");
  EXPECT_FALSE(report->isa.empty());
  EXPECT_GT(report->memory_gbps, 0);
  EXPECT_GT(report->peak_gflops, 0);
  EXPECT_GT(report->fff_flops_per_row, 0);
  EXPECT_GT(report->dense_flops_per_row, report->fff_flops_per_row);
  EXPECT_GT(report->fff_bytes_per_row, 4 * (24 + 5));
}

TEST(RunnerTest, RandomRowsReachEveryLeafOfASmallTree) {
  const CaseModels models = Build(Spec(kLeaf));
  const auto report =
      RunBenchmark(*models.fff, models.dense, Quick({1}), nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  const BenchmarkCase& one = report->cases.front();
  EXPECT_EQ(one.input_rows, 2048);
  EXPECT_EQ(one.distinct_leaves, 8);
  EXPECT_DOUBLE_EQ(one.leaves_per_call, 1);
  EXPECT_GE(one.top_leaf_share, 1.0 / 8);
  EXPECT_LT(one.top_leaf_share, 0.6);
}

TEST(RunnerTest, SeveralTreesAndColdWeightsAreMeasuredToo) {
  const CaseModels models = Build(Spec(kTrees));
  BenchmarkOptions options = Quick({4});
  options.cold_weights = true;
  const auto report = RunBenchmark(*models.fff, models.dense, options, nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->cold_weights);
  EXPECT_EQ(report->cases[0].fff.repetitions, 1);
  EXPECT_EQ(report->cases[0].distinct_leaves, 4);
}

TEST(RunnerTest, ProgressNamesEveryStepAndEndsAtTheTotal) {
  const CaseModels models = Build(Spec(kLeaf));
  std::vector<std::string> steps;
  int last_done = 0;
  int last_total = 0;
  const auto report =
      RunBenchmark(*models.fff, models.dense, Quick({1, 8}),
                   [&](int done, int total, absl::string_view step) {
                     if (steps.empty() || steps.back() != step)
                       steps.emplace_back(step);
                     EXPECT_GE(done, last_done);
                     last_done = done;
                     last_total = total;
                     return true;
                   });
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(steps,
              ElementsAre("probing the machine", "1 row", "8 rows", "done"));
  EXPECT_EQ(last_done, last_total);
}

TEST(RunnerTest, CallbackThatSaysNoCancelsTheRun) {
  const CaseModels models = Build(Spec(kLeaf));
  int calls = 0;
  const auto report = RunBenchmark(*models.fff, models.dense, Quick({1, 8, 16}),
                                   [&](int, int, absl::string_view step) {
                                     ++calls;
                                     return step != "8 rows";
                                   });
  EXPECT_EQ(report.status().code(), absl::StatusCode::kCancelled);
  EXPECT_GT(calls, 1);
}

// Rows that all end in one leaf, as random ones never do.
TEST(RunnerTest, MeasuresWithRowsThatAreGiven) {
  const CaseModels models = Build(Spec(kLeaf));
  const std::vector<float> rows(24 * 40, 0.5F);
  BenchmarkOptions options = Quick({1, 16});
  options.own_rows = {{tensor::ConstRows{rows.data(), 40, 24}}, 40, 1};
  const auto report = RunBenchmark(*models.fff, models.dense, options, nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->own_rows);
  EXPECT_EQ(report->cases[0].input_rows, 40);
  EXPECT_EQ(report->cases[1].input_rows, 32) << "whole batches";
  for (const BenchmarkCase& one : report->cases) {
    EXPECT_EQ(one.distinct_leaves, 1);
    EXPECT_EQ(one.leaves, 8);
    EXPECT_DOUBLE_EQ(one.top_leaf_share, 1);
  }
}

TEST(RunnerTest, RefusesBatchesOfMoreRowsThanAreGiven) {
  const CaseModels models = Build(Spec(kLeaf));
  const std::vector<float> rows(24 * 4, 0.5F);
  BenchmarkOptions options = Quick({1, 5});
  options.own_rows = {{tensor::ConstRows{rows.data(), 4, 24}}, 4, 1};
  const auto report = RunBenchmark(*models.fff, models.dense, options, nullptr);
  EXPECT_EQ(report.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(report.status().message(),
              HasSubstr("batch of 5 rows, wanted at most the 4 rows"));
}

TEST(RunnerTest, OtherVersionsStandBesideIt) {
  const CaseModels models = Build(Spec(kLeaf));
  const CaseModels older = Build(Spec(kLeaf), 2);
  BenchmarkOptions options = Quick({4});
  options.other_baselines = false;
  options.beside = {
      {BaselineKind::kOtherVersion, "the FFF of version 3", older.fff, 3}};
  const auto report = RunBenchmark(*models.fff, models.dense, options, nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->other_baselines.size(), 1U);
  EXPECT_EQ(report->other_baselines[0].version, 3);
  ASSERT_EQ(report->cases[0].other_baselines.size(), 1U);
  const Measurement& other = report->cases[0].other_baselines[0];
  EXPECT_GT(other.latency.median_s, 0);
  // What it touches, not all its weights.
  EXPECT_LT(other.least_bytes, report->cases[0].dense.least_bytes);
  options.beside[0].model = Build(Spec(kTrees)).fff;
  const auto refused =
      RunBenchmark(*models.fff, models.dense, options, nullptr);
  EXPECT_THAT(refused.status().message(),
              HasSubstr("the FFF of version 3 maps 24 to 6"));
}

TEST(RunnerTest, SaysHowMuchItWaited) {
  const CaseModels models = Build(Spec(kLeaf));
  const auto report =
      RunBenchmark(*models.fff, models.dense, Quick({1}), nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_GE(report->cases[0].waited_share, 0);
  EXPECT_LE(report->cases[0].waited_share, 1);
}

TEST(RunnerTest, RefusesOptionsOutsideTheirBounds) {
  const auto code = [](const BenchmarkOptions& options) {
    return CheckOptions(options).code();
  };
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(code(Quick({})), kInvalid);
  EXPECT_EQ(code(Quick({0})), kInvalid);
  EXPECT_EQ(code(Quick({kBatchRowsMax + 1})), kInvalid);
  EXPECT_EQ(code(Quick(std::vector<int64_t>(kBatchSizesMax + 1, 1))), kInvalid);
  BenchmarkOptions options = Quick({1});
  options.threads = 0;
  EXPECT_EQ(code(options), kInvalid);
  options = Quick({1});
  for (const double seconds : {0.0, -1.0, kSecondsPerCaseMax * 1.01,
                               std::numeric_limits<double>::quiet_NaN()}) {
    options.seconds_per_case = seconds;
    EXPECT_EQ(code(options), kInvalid) << seconds;
  }
  EXPECT_EQ(code(Quick({1, kBatchRowsMax})), absl::StatusCode::kOk);
}

TEST(RunnerTest, RefusesModelsOfUnequalWidths) {
  const CaseModels leaf = Build(Spec(kLeaf));
  const CaseModels trees = Build(Spec(kTrees));
  const auto report = RunBenchmark(*leaf.fff, trees.dense, Quick({1}), nullptr);
  EXPECT_EQ(report.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(report.status().message(), HasSubstr("24 to 5"));
}

TEST(RunnerTest, RefusesBatchesWhoseActivationsExceedTheBound) {
  const CaseModels models =
      Build(Spec("convention: sap-fff\ninput_width: 16000\n"
                 "output_width: 16000\ndepth: 2\n"));
  const auto report = RunBenchmark(*models.fff, models.dense,
                                   Quick({1, kBatchRowsMax}), nullptr);
  EXPECT_EQ(report.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(report.status().message(), HasSubstr("65536 rows"));
}

TEST(CaseModelsTest, TheSeedDecidesTheWeights) {
  const CaseSpec spec = Spec(kLeaf);
  const std::vector<float> x(24, 0.5F);
  const auto run = [&](uint64_t seed) {
    std::vector<float> y(5);
    engine::ExecutionContext context(1);
    Build(spec, seed)
        .fff->Run(engine::RowsBatch({x.data(), 1, 24}, {y.data(), 1, 5}),
                  context);
    return y;
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
}

TEST(CaseModelsTest, DenseOpponentsHaveTheirStatedSize) {
  const auto dense_flops = [](const std::string& dense) {
    return Build(Spec(std::string(kLeaf) + "dense: " + dense + "\n"))
        .dense.model->cost()
        .flops;
  };
  // 2 FLOPs a weight; biases and activations may be counted or not.
  EXPECT_NEAR(dense_flops("linear"), 2 * 24 * 5, 3 * 5);
  EXPECT_NEAR(dense_flops("width 7"), 2 * 7 * (24 + 5), 3 * (7 + 5));
  EXPECT_NEAR(dense_flops("neurons"), 2 * 24 * (24 + 5), 3 * (24 + 5));
}

TEST(TouchedTest, NodesOnTheWayAreCountedOnce) {
  const std::vector<int32_t> leaves = {0, 1, 7, 7, 1};
  // Depth 3: root; 2 of its children; nodes above 0/1 and above 7.
  EXPECT_EQ(DistinctNodes(leaves, 3, /*with_bottom=*/false), 1 + 2 + 2);
  EXPECT_EQ(DistinctNodes(leaves, 3, /*with_bottom=*/true), 1 + 2 + 2 + 3);
  EXPECT_EQ(DistinctNodes({}, 3, true), 0);
  const std::vector<int32_t> one = {0};
  EXPECT_EQ(DistinctNodes(one, 0, false), 0);
  EXPECT_EQ(DistinctNodes(one, 0, true), 1);
}

TEST(TouchedTest, PositionsOutsideTheTreeAreIgnored) {
  const std::vector<int32_t> leaves = {-1, 8, 3};
  EXPECT_EQ(DistinctNodes(leaves, 3, true), 4);
}

TEST(TouchedTest, OneRowTouchesWhatTheLayerSaysOneRowCosts) {
  for (const char* text : {kLeaf, kTrees}) {
    const CaseModels models = Build(Spec(text));
    const model::LayerFacts& layer = models.fff->layers().front();
    const int64_t nodes = text == kLeaf ? 3 : 3 * 3;
    EXPECT_DOUBLE_EQ(TouchedWeightBytes(layer, nodes, 1),
                     layer.cost.weight_bytes);
  }
}

TEST(TouchedTest, ManyRowsTouchNoMoreThanAllWeights) {
  const CaseModels models = Build(Spec(kLeaf));
  const InputRows inputs(512, 24, 1);
  std::vector<float> y(512 * 5);
  engine::ExecutionContext context(1);
  const tensor::MutableRows output = {y.data(), 512, 5};
  const Touched touched =
      CountTouched(*models.fff, inputs, {&output, 1}, context);
  const double all_weights = 4.0 * (7 * 25 + 8 * (3 * (24 + 5 + 1) + 5));
  EXPECT_DOUBLE_EQ(touched.least_bytes_per_call,
                   all_weights + 4.0 * 512 * (24 + 5));
  EXPECT_DOUBLE_EQ(touched.leaves_per_call, 8);
}

}  // namespace
}  // namespace fff::benchmark
