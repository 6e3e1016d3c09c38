#include "server/benchmark/report_parse.h"

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace fff::benchmark {
namespace {

using ParsedJson = nlohmann::json;

template <class Value>
void Read(const ParsedJson& json, const char* key, Value& value) {
  json.at(key).get_to(value);
}

// A key that reports of earlier versions lack.
template <class Value>
void ReadLater(const ParsedJson& json, const char* key, Value& value) {
  if (json.contains(key)) Read(json, key, value);
}

void Read(const ParsedJson& json, const char* key,
          std::optional<double>& value) {
  if (!json.at(key).is_null()) value = json.at(key).get<double>();
}

void Read(const ParsedJson& json, const char* key, BaselineKind& kind) {
  const std::string name = json.at(key);
  for (const BaselineKind known :
       {BaselineKind::kNeurons, BaselineKind::kInferenceWidth,
        BaselineKind::kTrained, BaselineKind::kChosen,
        BaselineKind::kWithoutFeedforward, BaselineKind::kOtherVersion}) {
    if (Name(known) != name) continue;
    kind = known;
    return;
  }
  throw std::invalid_argument(absl::StrCat("got ", key, " '", name,
                                           "', wanted the name of a baseline"));
}

LayerTime ReadLayer(const ParsedJson& json) {
  LayerTime layer;
  Read(json, "layer", layer.layer);
  Read(json, "count", layer.count);
  Read(json, "routes", layer.routes);
  Read(json, "seconds", layer.seconds);
  return layer;
}

Measurement ReadMeasurement(const ParsedJson& json) {
  Measurement measured;
  Read(json, "median_s", measured.latency.median_s);
  Read(json, "p10_s", measured.latency.p10_s);
  Read(json, "p90_s", measured.latency.p90_s);
  Read(json, "p99_s", measured.latency.p99_s);
  Read(json, "min_s", measured.latency.min_s);
  Read(json, "mean_s", measured.latency.mean_s);
  Read(json, "samples", measured.latency.samples);
  Read(json, "repetitions", measured.repetitions);
  Read(json, "rows_per_s", measured.rows_per_s);
  Read(json, "gflops", measured.gflops);
  Read(json, "gbps", measured.gbps);
  Read(json, "least_bytes", measured.least_bytes);
  Read(json, "kernel", measured.kernel);
  for (const ParsedJson& layer : json.at("layers")) {
    measured.layers.push_back(ReadLayer(layer));
  }
  return measured;
}

BenchmarkCase ReadCase(const ParsedJson& json) {
  BenchmarkCase one;
  Read(json, "rows", one.rows);
  Read(json, "neurons", one.neurons);
  one.fff = ReadMeasurement(json.at("fff"));
  one.dense = ReadMeasurement(json.at("dense"));
  Read(json, "speedup", one.speedup);
  Read(json, "distinct_leaves", one.distinct_leaves);
  Read(json, "top_leaf_share", one.top_leaf_share);
  Read(json, "leaves_per_call", one.leaves_per_call);
  Read(json, "input_rows", one.input_rows);
  ReadLater(json, "leaves", one.leaves);
  ReadLater(json, "waited_share", one.waited_share);
  for (const ParsedJson& other : json.at("other_baselines")) {
    one.other_baselines.push_back(ReadMeasurement(other));
  }
  return one;
}

Baseline ReadBaseline(const ParsedJson& json) {
  Baseline baseline;
  Read(json, "kind", baseline.kind);
  Read(json, "description", baseline.description);
  Read(json, "flops_per_row", baseline.flops_per_row);
  Read(json, "bytes_per_row", baseline.bytes_per_row);
  ReadLater(json, "version", baseline.version);
  return baseline;
}

BenchmarkReport ReadReport(const ParsedJson& json) {
  BenchmarkReport report;
  Read(json, "model", report.model);
  Read(json, "version", report.version);
  Read(json, "dense_kind", report.dense_kind);
  Read(json, "dense_description", report.dense_description);
  for (const ParsedJson& baseline : json.at("other_baselines")) {
    report.other_baselines.push_back(ReadBaseline(baseline));
  }
  Read(json, "baselines_left_out", report.baselines_left_out);
  const ParsedJson& accuracy = json.at("accuracy");
  Read(accuracy, "fff", report.accuracy.fff);
  Read(accuracy, "dense", report.accuracy.dense);
  Read(accuracy, "data", report.accuracy.data);
  Read(json, "threads", report.threads);
  Read(json, "cold_weights", report.cold_weights);
  ReadLater(json, "own_rows", report.own_rows);
  Read(json, "cpu_model", report.cpu_model);
  Read(json, "isa", report.isa);
  Read(json, "device", report.device);
  Read(json, "memory_gbps", report.memory_gbps);
  Read(json, "peak_gflops", report.peak_gflops);
  Read(json, "seed", report.seed);
  Read(json, "fff_flops_per_row", report.fff_flops_per_row);
  Read(json, "dense_flops_per_row", report.dense_flops_per_row);
  Read(json, "fff_bytes_per_row", report.fff_bytes_per_row);
  Read(json, "dense_bytes_per_row", report.dense_bytes_per_row);
  Read(json, "server_version", report.server_version);
  for (const ParsedJson& one : json.at("cases")) {
    report.cases.push_back(ReadCase(one));
  }
  return report;
}

}  // namespace

absl::StatusOr<BenchmarkReport> ParseReport(absl::string_view json) {
  try {
    return ReadReport(ParsedJson::parse(json));
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("no benchmark report: ", error.what()));
  }
}

}  // namespace fff::benchmark
