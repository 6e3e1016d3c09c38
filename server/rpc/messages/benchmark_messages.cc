#include "server/rpc/messages/benchmark_messages.h"

#include "absl/strings/str_cat.h"
#include "server/base/cpu_info.h"
#include "server/base/status_macros.h"
#include "server/rpc/messages/decode.h"
#include "server/rpc/messages/version.h"

namespace fff::rpc {
namespace {

void EncodeMeasurement(const benchmark::BenchmarkReport& report,
                       const benchmark::Measurement& from,
                       v1::LatencySummary& to) {
  to.set_samples(from.latency.samples);
  to.set_median_s(from.latency.median_s);
  to.set_p10_s(from.latency.p10_s);
  to.set_p90_s(from.latency.p90_s);
  to.set_p99_s(from.latency.p99_s);
  to.set_min_s(from.latency.min_s);
  to.set_mean_s(from.latency.mean_s);
  to.set_rows_per_s(from.rows_per_s);
  to.set_gflops(from.gflops);
  to.set_gbps(from.gbps);
  to.set_kernel(from.kernel);
  to.set_repetitions(from.repetitions);
  to.set_least_bytes(from.least_bytes);
  for (const benchmark::LayerTime& line : from.layers) {
    v1::LayerTime& layer = *to.add_layers();
    layer.set_layer(line.layer);
    layer.set_count(line.count);
    layer.set_routes(line.routes);
    layer.set_seconds(line.seconds);
  }
  if (report.memory_gbps > 0) {
    to.set_bandwidth_fraction(from.gbps / report.memory_gbps);
  }
  if (report.peak_gflops > 0) {
    to.set_peak_fraction(from.gflops / report.peak_gflops);
  }
}

v1::DenseKind ToProto(benchmark::BaselineKind kind) {
  switch (kind) {
    case benchmark::BaselineKind::kTrained:
      return v1::DENSE_KIND_TRAINED;
    case benchmark::BaselineKind::kInferenceWidth:
      return v1::DENSE_KIND_INFERENCE_WIDTH;
    case benchmark::BaselineKind::kWithoutFeedforward:
      return v1::DENSE_KIND_WITHOUT_FEEDFORWARD;
    case benchmark::BaselineKind::kOtherVersion:
      return v1::DENSE_KIND_OTHER_VERSION;
    default:
      return v1::DENSE_KIND_COST_BASELINE;
  }
}

void EncodeCase(const benchmark::BenchmarkReport& report,
                const benchmark::BenchmarkCase& from, v1::BenchmarkCase& to) {
  to.set_rows(from.rows);
  EncodeMeasurement(report, from.fff, *to.mutable_fff());
  EncodeMeasurement(report, from.dense, *to.mutable_dense());
  for (const benchmark::Measurement& other : from.other_baselines) {
    EncodeMeasurement(report, other, *to.add_other_baselines());
  }
  to.set_speedup(from.speedup);
  to.set_distinct_leaves(from.distinct_leaves);
  to.set_top_leaf_share(from.top_leaf_share);
  to.set_input_rows(from.input_rows);
  to.set_leaves_per_call(from.leaves_per_call);
  to.set_neurons(from.neurons);
  to.set_leaves(from.leaves);
  to.set_waited_share(from.waited_share);
}

void EncodeBaselines(const benchmark::BenchmarkReport& report,
                     v1::BenchmarkReport& message) {
  for (const benchmark::Baseline& from : report.other_baselines) {
    v1::BenchmarkBaseline& to = *message.add_other_baselines();
    to.set_kind(ToProto(from.kind));
    to.set_description(from.description);
    to.set_flops_per_row(from.flops_per_row);
    to.set_bytes_per_row(from.bytes_per_row);
    to.set_version(from.version);
  }
  message.set_baselines_left_out(report.baselines_left_out);
}

void EncodeAccuracy(const benchmark::Accuracy& accuracy,
                    v1::BenchmarkReport& message) {
  if (!accuracy.fff.has_value() && !accuracy.dense.has_value()) return;
  v1::Accuracy& to = *message.mutable_accuracy();
  if (accuracy.fff.has_value()) to.set_fff(*accuracy.fff);
  if (accuracy.dense.has_value()) to.set_dense(*accuracy.dense);
  to.set_data(accuracy.data);
}

}  // namespace

absl::StatusOr<benchmark::BenchmarkOptions> DecodeBenchmark(
    const v1::BenchmarkRequest& request) {
  benchmark::BenchmarkOptions options;
  if (request.batch_rows_size() > 0) {
    options.batch_rows.assign(request.batch_rows().begin(),
                              request.batch_rows().end());
  }
  if (request.seconds_per_case() != 0) {
    options.seconds_per_case = request.seconds_per_case();
  }
  if (request.threads() != 0) options.threads = request.threads();
  if (request.seed() != 0) options.seed = request.seed();
  options.cold_weights = request.cold_weights();
  options.other_baselines = !request.twin_only();
  // More threads than the machine has measures the kernel's time slices, and a
  // caller must not be able to start a thousand of them.
  const int cpus = base::AvailableCpus();
  if (options.threads > cpus) {
    return absl::InvalidArgumentError(
        absl::StrCat("threads: got ", options.threads,
                     ", wanted at most the server's ", cpus, " CPUs"));
  }
  FFF_RETURN_IF_ERROR(benchmark::CheckOptions(options));
  return options;
}

absl::StatusOr<benchmark::OwnRows> DecodeBenchmarkRows(
    const v1::BenchmarkRequest& request, const graph::Graph& graph,
    InputScratch& scratch) {
  benchmark::OwnRows rows;
  if (request.inputs().empty()) return rows;
  InputSpec spec(graph);
  spec.positions = nullptr;
  spec.refuse_non_finite = true;
  FFF_ASSIGN_OR_RETURN(const DecodedInputs decoded,
                       DecodeNamedInputs(request.inputs(), spec, scratch));
  rows.inputs.assign(decoded.matrices.begin(), decoded.matrices.end());
  rows.rows = decoded.rows;
  rows.tokens = decoded.tokens;
  return rows;
}

void EncodeReport(const benchmark::BenchmarkReport& report,
                  const serving::Servable& servable,
                  v1::BenchmarkReport& message) {
  const serving::Servable::Parts& parts = servable.parts();
  message.set_model(parts.model_name);
  message.set_version(parts.version);
  message.set_dense_kind(parts.dense_is_trained ? v1::DENSE_KIND_TRAINED
                                                : v1::DENSE_KIND_COST_BASELINE);
  message.set_dense_description(parts.dense_description);
  for (const benchmark::BenchmarkCase& from : report.cases) {
    EncodeCase(report, from, *message.add_cases());
  }
  EncodeBaselines(report, message);
  EncodeAccuracy(report.accuracy, message);
  message.set_peak_gflops(report.peak_gflops);
  message.set_cold_weights(report.cold_weights);
  message.set_own_rows(report.own_rows);
  message.set_threads(report.threads);
  message.set_cpu_model(report.cpu_model);
  message.set_isa(report.isa);
  message.set_device(parts.device);
  message.set_memory_gbps(report.memory_gbps);
  message.set_seed(report.seed);
  message.set_fff_flops_per_row(report.fff_flops_per_row);
  message.set_dense_flops_per_row(report.dense_flops_per_row);
  message.set_fff_bytes_per_row(report.fff_bytes_per_row);
  message.set_dense_bytes_per_row(report.dense_bytes_per_row);
  message.set_server_version(kServerVersion);
}

}  // namespace fff::rpc
