#include "server/benchmark/report_json.h"

#include <optional>
#include <utility>

#include "nlohmann/json.hpp"
#include "server/benchmark/disturbance.h"
#include "server/benchmark/feedforward_share.h"

namespace fff::benchmark {
namespace {

using Json = nlohmann::ordered_json;

double Fraction(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

// Where the time of one call goes; empty for a layer alone.
Json LayersToJson(const Measurement& measured) {
  double sum = 0;
  for (const LayerTime& line : measured.layers) sum += line.seconds;
  Json layers = Json::array();
  for (const LayerTime& line : measured.layers) {
    layers.push_back({{"layer", line.layer},
                      {"count", line.count},
                      {"routes", line.routes},
                      {"seconds", line.seconds},
                      {"share", Fraction(line.seconds, sum)}});
  }
  return layers;
}

Json ToJson(const BenchmarkReport& report, const Measurement& measured) {
  const Latency& latency = measured.latency;
  return {{"median_s", latency.median_s},
          {"p10_s", latency.p10_s},
          {"p90_s", latency.p90_s},
          {"p99_s", latency.p99_s},
          {"min_s", latency.min_s},
          {"mean_s", latency.mean_s},
          {"samples", latency.samples},
          {"repetitions", measured.repetitions},
          {"rows_per_s", measured.rows_per_s},
          {"gflops", measured.gflops},
          {"gbps", measured.gbps},
          {"bandwidth_fraction", Fraction(measured.gbps, report.memory_gbps)},
          {"peak_fraction", Fraction(measured.gflops, report.peak_gflops)},
          {"least_bytes", measured.least_bytes},
          {"kernel", measured.kernel},
          {"layers", LayersToJson(measured)}};
}

// The name of a kind with how often slower than the FFF it was.
Json OthersToJson(const BenchmarkReport& report, const BenchmarkCase& one) {
  Json others = Json::array();
  for (size_t i = 0; i < one.other_baselines.size(); ++i) {
    Json other = ToJson(report, one.other_baselines[i]);
    if (i < report.other_baselines.size()) {
      other["kind"] = std::string(Name(report.other_baselines[i].kind));
    }
    other["speedup"] = Fraction(one.other_baselines[i].latency.median_s,
                                one.fff.latency.median_s);
    others.push_back(std::move(other));
  }
  return others;
}

// Null for a layer alone, and where it was not measured.
Json ShareToJson(const BenchmarkReport& report, const BenchmarkCase& one) {
  const std::optional<FeedforwardShare> share = ShareOf(report, one);
  if (!share.has_value()) return nullptr;
  return {{"without_s", share->without_s},
          {"share_of_fff", share->of_fff},
          {"share_of_dense", share->of_dense},
          {"layers_speedup", share->layers_speedup},
          {"network_speedup", share->network_speedup},
          {"speedup_max", share->speedup_max}};
}

Json ToJson(const BenchmarkReport& report, const BenchmarkCase& one) {
  return {{"case", report.model},
          {"rows", one.rows},
          {"threads", report.threads},
          {"neurons", one.neurons},
          {"fff", ToJson(report, one.fff)},
          {"dense", ToJson(report, one.dense)},
          {"speedup", one.speedup},
          {"kernel", one.fff.kernel},
          {"gbps", one.fff.gbps},
          {"bandwidth_fraction", Fraction(one.fff.gbps, report.memory_gbps)},
          {"distinct_leaves", one.distinct_leaves},
          {"top_leaf_share", one.top_leaf_share},
          {"leaves_per_call", one.leaves_per_call},
          {"input_rows", one.input_rows},
          {"leaves", one.leaves},
          {"waited_share", one.waited_share},
          {"disturbed", Disturbed(one)},
          {"other_baselines", OthersToJson(report, one)},
          {"feedforward", ShareToJson(report, one)}};
}

Json BaselinesToJson(const BenchmarkReport& report) {
  Json baselines = Json::array();
  for (const Baseline& baseline : report.other_baselines) {
    baselines.push_back({{"kind", std::string(Name(baseline.kind))},
                         {"description", baseline.description},
                         {"flops_per_row", baseline.flops_per_row},
                         {"bytes_per_row", baseline.bytes_per_row},
                         {"version", baseline.version}});
  }
  return baselines;
}

// Null where nothing is known.
Json AccuracyToJson(const Accuracy& accuracy) {
  Json json = {{"fff", nullptr}, {"dense", nullptr}, {"data", accuracy.data}};
  if (accuracy.fff.has_value()) json["fff"] = *accuracy.fff;
  if (accuracy.dense.has_value()) json["dense"] = *accuracy.dense;
  return json;
}

}  // namespace

std::string ReportJson(const BenchmarkReport& report) {
  Json json = {{"model", report.model},
               {"version", report.version},
               {"dense_kind", std::string(Name(report.dense_kind))},
               {"dense_description", report.dense_description},
               {"other_baselines", BaselinesToJson(report)},
               {"baselines_left_out", report.baselines_left_out},
               {"accuracy", AccuracyToJson(report.accuracy)},
               {"threads", report.threads},
               {"cold_weights", report.cold_weights},
               {"own_rows", report.own_rows},
               {"cpu_model", report.cpu_model},
               {"isa", report.isa},
               {"device", report.device},
               {"memory_gbps", report.memory_gbps},
               {"peak_gflops", report.peak_gflops},
               {"seed", report.seed},
               {"fff_flops_per_row", report.fff_flops_per_row},
               {"dense_flops_per_row", report.dense_flops_per_row},
               {"fff_bytes_per_row", report.fff_bytes_per_row},
               {"dense_bytes_per_row", report.dense_bytes_per_row},
               {"server_version", report.server_version}};
  Json cases = Json::array();
  for (const BenchmarkCase& one : report.cases) {
    cases.push_back(ToJson(report, one));
  }
  if (cases.size() == 1) {
    // The one case's figures at the top; what the baselines are stays there.
    for (const auto& [key, value] : cases.front().items()) {
      if (!json.contains(key)) json[key] = value;
    }
  }
  json["cases"] = std::move(cases);
  // Names may come from a peer: bytes that are not UTF-8 are replaced.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace fff::benchmark
