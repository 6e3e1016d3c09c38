#include "client/cli/report_messages.h"

#include <utility>

namespace fff::cli {
namespace {

benchmark::Measurement DecodeMeasurement(const v1::LatencySummary& message) {
  benchmark::Measurement measured;
  measured.latency.samples = message.samples();
  measured.latency.median_s = message.median_s();
  measured.latency.p10_s = message.p10_s();
  measured.latency.p90_s = message.p90_s();
  measured.latency.p99_s = message.p99_s();
  measured.latency.min_s = message.min_s();
  measured.latency.mean_s = message.mean_s();
  measured.rows_per_s = message.rows_per_s();
  measured.gflops = message.gflops();
  measured.gbps = message.gbps();
  measured.repetitions = message.repetitions();
  // Servers before this field: it follows from these two.
  measured.least_bytes = message.least_bytes() > 0
                             ? message.least_bytes()
                             : message.gbps() * message.median_s() * 1e9;
  measured.kernel = message.kernel();
  for (const v1::LayerTime& line : message.layers()) {
    measured.layers.push_back(
        {line.layer(), line.count(), line.routes(), line.seconds()});
  }
  return measured;
}

benchmark::BaselineKind KindOf(v1::DenseKind kind) {
  switch (kind) {
    case v1::DENSE_KIND_TRAINED:
      return benchmark::BaselineKind::kTrained;
    case v1::DENSE_KIND_INFERENCE_WIDTH:
      return benchmark::BaselineKind::kInferenceWidth;
    case v1::DENSE_KIND_WITHOUT_FEEDFORWARD:
      return benchmark::BaselineKind::kWithoutFeedforward;
    case v1::DENSE_KIND_OTHER_VERSION:
      return benchmark::BaselineKind::kOtherVersion;
    default:
      return benchmark::BaselineKind::kNeurons;
  }
}

benchmark::Accuracy DecodeAccuracy(const v1::Accuracy& message) {
  benchmark::Accuracy accuracy;
  if (message.has_fff()) accuracy.fff = message.fff();
  if (message.has_dense()) accuracy.dense = message.dense();
  accuracy.data = message.data();
  return accuracy;
}

}  // namespace

benchmark::BenchmarkReport DecodeReport(const v1::BenchmarkReport& message) {
  benchmark::BenchmarkReport report;
  report.model = message.model();
  report.version = message.version();
  report.dense_kind = KindOf(message.dense_kind());
  report.dense_description = message.dense_description();
  for (const v1::BenchmarkCase& from : message.cases()) {
    benchmark::BenchmarkCase one;
    one.rows = from.rows();
    one.fff = DecodeMeasurement(from.fff());
    one.dense = DecodeMeasurement(from.dense());
    one.speedup = from.speedup();
    one.distinct_leaves = from.distinct_leaves();
    one.top_leaf_share = from.top_leaf_share();
    one.input_rows = from.input_rows();
    one.neurons = from.neurons();
    one.leaves_per_call = from.leaves_per_call();
    one.leaves = from.leaves();
    one.waited_share = from.waited_share();
    for (const v1::LatencySummary& other : from.other_baselines()) {
      one.other_baselines.push_back(DecodeMeasurement(other));
    }
    report.cases.push_back(std::move(one));
  }
  for (const v1::BenchmarkBaseline& from : message.other_baselines()) {
    report.other_baselines.push_back({KindOf(from.kind()), from.description(),
                                      from.flops_per_row(),
                                      from.bytes_per_row(), from.version()});
  }
  report.baselines_left_out = message.baselines_left_out();
  report.accuracy = DecodeAccuracy(message.accuracy());
  report.peak_gflops = message.peak_gflops();
  report.cold_weights = message.cold_weights();
  report.own_rows = message.own_rows();
  report.threads = message.threads();
  report.cpu_model = message.cpu_model();
  report.isa = message.isa();
  report.device = message.device();
  report.memory_gbps = message.memory_gbps();
  report.seed = message.seed();
  report.fff_flops_per_row = message.fff_flops_per_row();
  report.dense_flops_per_row = message.dense_flops_per_row();
  report.fff_bytes_per_row = message.fff_bytes_per_row();
  report.dense_bytes_per_row = message.dense_bytes_per_row();
  report.server_version = message.server_version();
  return report;
}

}  // namespace fff::cli
