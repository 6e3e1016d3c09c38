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
  // The wire leaves it out because it follows from these two.
  measured.least_bytes = message.gbps() * message.median_s() * 1e9;
  measured.kernel = message.kernel();
  return measured;
}

}  // namespace

benchmark::BenchmarkReport DecodeReport(const v1::BenchmarkReport& message) {
  benchmark::BenchmarkReport report;
  report.model = message.model();
  report.version = message.version();
  report.dense_trained = message.dense_kind() == v1::DENSE_KIND_TRAINED;
  report.dense_description = message.dense_description();
  for (const v1::BenchmarkCase& from : message.cases()) {
    benchmark::BenchmarkCase one;
    one.rows = from.rows();
    one.fff = DecodeMeasurement(from.fff());
    one.dense = DecodeMeasurement(from.dense());
    one.speedup = from.speedup();
    one.distinct_leaves = from.distinct_leaves();
    one.top_leaf_share = from.top_leaf_share();
    report.cases.push_back(std::move(one));
  }
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
