#include "server/rpc/messages/benchmark_messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "absl/strings/str_cat.h"
#include "server/base/cpu_info.h"
#include "server/rpc/messages/version.h"
#include "tests/unit/serving/test_layer.h"
#include "tests/unit/serving/test_servable.h"

namespace fff::rpc {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(DecodeBenchmark, FillsInDefaults) {
  const auto options = DecodeBenchmark(v1::BenchmarkRequest());
  ASSERT_TRUE(options.ok());
  EXPECT_THAT(options->batch_rows, ElementsAre(1, 16, 256, 2048));
  EXPECT_EQ(options->seconds_per_case, 0.5);
  EXPECT_EQ(options->threads, 1);
  EXPECT_EQ(options->seed, 1u);
  EXPECT_FALSE(options->cold_weights);
  EXPECT_TRUE(options->other_baselines);
}

TEST(DecodeBenchmark, TakesWhatIsAskedFor) {
  v1::BenchmarkRequest request;
  request.add_batch_rows(3);
  request.add_batch_rows(65536);
  request.set_seconds_per_case(2.5);
  request.set_threads(1);
  request.set_seed(99);
  request.set_cold_weights(true);
  request.set_twin_only(true);
  const auto options = DecodeBenchmark(request);
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_THAT(options->batch_rows, ElementsAre(3, 65536));
  EXPECT_EQ(options->seconds_per_case, 2.5);
  EXPECT_EQ(options->seed, 99u);
  EXPECT_TRUE(options->cold_weights);
  EXPECT_FALSE(options->other_baselines);
}

TEST(DecodeBenchmark, RefusesBatchSizesOutOfBounds) {
  for (const int64_t rows : {int64_t{0}, int64_t{-1}, int64_t{65537},
                             std::numeric_limits<int64_t>::max()}) {
    v1::BenchmarkRequest request;
    request.add_batch_rows(rows);
    const absl::Status status = DecodeBenchmark(request).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(absl::StrCat("got a batch of ", rows, " rows")));
  }
  v1::BenchmarkRequest many;
  for (int i = 0; i < 17; ++i) many.add_batch_rows(1);
  EXPECT_EQ(DecodeBenchmark(many).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(DecodeBenchmark, RefusesTimesOutOfBounds) {
  for (const double seconds :
       {-1.0, 30.5, 1e300, std::numeric_limits<double>::infinity(),
        std::numeric_limits<double>::quiet_NaN()}) {
    v1::BenchmarkRequest request;
    request.set_seconds_per_case(seconds);
    EXPECT_EQ(DecodeBenchmark(request).status().code(),
              absl::StatusCode::kInvalidArgument)
        << seconds;
  }
}

TEST(DecodeBenchmark, RefusesMoreThreadsThanTheMachineHas) {
  const int cpus = base::AvailableCpus();
  v1::BenchmarkRequest request;
  request.set_threads(cpus);
  EXPECT_TRUE(DecodeBenchmark(request).ok());
  request.set_threads(cpus + 1);
  EXPECT_EQ(DecodeBenchmark(request).status(),
            absl::InvalidArgumentError(
                absl::StrCat("threads: got ", cpus + 1,
                             ", wanted at most the server's ", cpus, " CPUs")));
  request.set_threads(-1);
  EXPECT_EQ(DecodeBenchmark(request).status().code(),
            absl::StatusCode::kInvalidArgument);
}

benchmark::Measurement MakeMeasurement(double median_s) {
  benchmark::Measurement made;
  made.latency = {50, median_s, 1, 2, 3, 0.5, 1.5};
  made.rows_per_s = 1000;
  made.gflops = 7;
  made.gbps = 8;
  made.least_bytes = 9;
  made.repetitions = 32;
  made.kernel = "leaf_walk";
  made.layers = {{"fff: a", 3, true, 0.25}};
  return made;
}

void ExpectMeasurement(const v1::LatencySummary& summary, double median_s) {
  EXPECT_EQ(summary.samples(), 50);
  EXPECT_EQ(summary.median_s(), median_s);
  EXPECT_EQ(summary.p10_s(), 1);
  EXPECT_EQ(summary.p90_s(), 2);
  EXPECT_EQ(summary.p99_s(), 3);
  EXPECT_EQ(summary.min_s(), 0.5);
  EXPECT_EQ(summary.mean_s(), 1.5);
  EXPECT_EQ(summary.rows_per_s(), 1000);
  EXPECT_EQ(summary.gflops(), 7);
  EXPECT_EQ(summary.gbps(), 8);
  EXPECT_EQ(summary.kernel(), "leaf_walk");
  EXPECT_EQ(summary.least_bytes(), 9);
  EXPECT_EQ(summary.repetitions(), 32);
  EXPECT_EQ(summary.bandwidth_fraction(), 0.2);
  EXPECT_EQ(summary.peak_fraction(), 0.5);
  ASSERT_EQ(summary.layers_size(), 1);
  EXPECT_EQ(summary.layers(0).layer(), "fff: a");
  EXPECT_EQ(summary.layers(0).count(), 3);
  EXPECT_TRUE(summary.layers(0).routes());
  EXPECT_EQ(summary.layers(0).seconds(), 0.25);
}

benchmark::BenchmarkReport MakeReport() {
  benchmark::BenchmarkReport report;
  benchmark::BenchmarkCase measured;
  measured.rows = 16;
  measured.fff = MakeMeasurement(0.25);
  measured.dense = MakeMeasurement(4);
  measured.speedup = 16;
  measured.distinct_leaves = 12;
  measured.top_leaf_share = 0.125;
  measured.input_rows = 2048;
  measured.neurons = 4095;
  measured.leaves_per_call = 3.5;
  measured.leaves = 64;
  measured.waited_share = 0.0625;
  measured.other_baselines = {MakeMeasurement(2)};
  report.cases = {measured, measured};
  report.other_baselines = {
      {benchmark::BaselineKind::kInferenceWidth, "12 neurons", 21, 22, 23}};
  report.baselines_left_out = "neurons: too large";
  report.accuracy.dense = 0.75;
  report.accuracy.data = "a test set";
  report.peak_gflops = 14;
  report.cold_weights = true;
  report.own_rows = true;
  report.threads = 2;
  report.cpu_model = "a processor";
  report.isa = "AVX3";
  report.memory_gbps = 40;
  report.seed = 5;
  report.fff_flops_per_row = 1;
  report.dense_flops_per_row = 2;
  report.fff_bytes_per_row = 3;
  report.dense_bytes_per_row = 4;
  return report;
}

TEST(EncodeReport, CopiesEveryField) {
  serving::ServableOptions options;
  options.name = "m";
  options.version = 6;
  const auto servable = serving::MakeServable(
      serving::MakeModel(serving::DoublingLayer::Options()), options);
  v1::BenchmarkReport message;
  EncodeReport(MakeReport(), *servable, message);
  EXPECT_EQ(message.model(), "m");
  EXPECT_EQ(message.version(), 6);
  EXPECT_EQ(message.dense_kind(), v1::DENSE_KIND_COST_BASELINE);
  ASSERT_EQ(message.cases_size(), 2);
  EXPECT_EQ(message.cases(1).rows(), 16);
  ExpectMeasurement(message.cases(1).fff(), 0.25);
  ExpectMeasurement(message.cases(1).dense(), 4);
  EXPECT_EQ(message.cases(1).speedup(), 16);
  EXPECT_EQ(message.cases(1).distinct_leaves(), 12);
  EXPECT_EQ(message.cases(1).top_leaf_share(), 0.125);
  EXPECT_EQ(message.cases(1).input_rows(), 2048);
  EXPECT_EQ(message.cases(1).neurons(), 4095);
  EXPECT_EQ(message.cases(1).leaves_per_call(), 3.5);
  EXPECT_EQ(message.cases(1).leaves(), 64);
  EXPECT_EQ(message.cases(1).waited_share(), 0.0625);
  ASSERT_EQ(message.cases(1).other_baselines_size(), 1);
  ExpectMeasurement(message.cases(1).other_baselines(0), 2);
  ASSERT_EQ(message.other_baselines_size(), 1);
  EXPECT_EQ(message.other_baselines(0).kind(), v1::DENSE_KIND_INFERENCE_WIDTH);
  EXPECT_EQ(message.other_baselines(0).description(), "12 neurons");
  EXPECT_EQ(message.other_baselines(0).flops_per_row(), 21);
  EXPECT_EQ(message.other_baselines(0).bytes_per_row(), 22);
  EXPECT_EQ(message.other_baselines(0).version(), 23);
  EXPECT_EQ(message.baselines_left_out(), "neurons: too large");
  EXPECT_FALSE(message.accuracy().has_fff());
  EXPECT_EQ(message.accuracy().dense(), 0.75);
  EXPECT_EQ(message.accuracy().data(), "a test set");
  EXPECT_EQ(message.peak_gflops(), 14);
  EXPECT_TRUE(message.cold_weights());
  EXPECT_TRUE(message.own_rows());
  EXPECT_EQ(message.threads(), 2);
  EXPECT_EQ(message.cpu_model(), "a processor");
  EXPECT_EQ(message.isa(), "AVX3");
  EXPECT_EQ(message.device(), "cpu");
  EXPECT_EQ(message.memory_gbps(), 40);
  EXPECT_EQ(message.seed(), 5u);
  EXPECT_EQ(message.fff_flops_per_row(), 1);
  EXPECT_EQ(message.dense_flops_per_row(), 2);
  EXPECT_EQ(message.fff_bytes_per_row(), 3);
  EXPECT_EQ(message.dense_bytes_per_row(), 4);
  EXPECT_EQ(message.server_version(), kServerVersion);
}

}  // namespace
}  // namespace fff::rpc
