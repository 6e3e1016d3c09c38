#include "server/benchmark/report_json.h"

#include "nlohmann/json.hpp"

namespace fff::benchmark {
namespace {

using Json = nlohmann::ordered_json;

Json ToJson(const Measurement& measured) {
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
          {"least_bytes", measured.least_bytes},
          {"kernel", measured.kernel}};
}

Json ToJson(const BenchmarkReport& report, const BenchmarkCase& one) {
  const double fraction =
      report.memory_gbps > 0 ? one.fff.gbps / report.memory_gbps : 0;
  return {{"case", report.model},
          {"rows", one.rows},
          {"threads", report.threads},
          {"fff", ToJson(one.fff)},
          {"dense", ToJson(one.dense)},
          {"speedup", one.speedup},
          {"kernel", one.fff.kernel},
          {"gbps", one.fff.gbps},
          {"bandwidth_fraction", fraction},
          {"distinct_leaves", one.distinct_leaves},
          {"top_leaf_share", one.top_leaf_share},
          {"leaves_per_call", one.leaves_per_call},
          {"input_rows", one.input_rows}};
}

}  // namespace

std::string ReportJson(const BenchmarkReport& report) {
  Json json = {
      {"model", report.model},
      {"version", report.version},
      {"dense_kind", report.dense_trained ? "trained" : "cost_baseline"},
      {"dense_description", report.dense_description},
      {"threads", report.threads},
      {"cold_weights", report.cold_weights},
      {"cpu_model", report.cpu_model},
      {"isa", report.isa},
      {"device", report.device},
      {"memory_gbps", report.memory_gbps},
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
  if (cases.size() == 1) json.update(cases.front());
  json["cases"] = std::move(cases);
  // Names may come from a peer: bytes that are not UTF-8 are replaced.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace fff::benchmark
