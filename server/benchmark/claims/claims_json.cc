#include <utility>

#include "nlohmann/json.hpp"
#include "server/benchmark/claims/claims_report.h"

namespace fff::benchmark {
namespace {

using Json = nlohmann::ordered_json;

std::string String(absl::string_view text) { return std::string(text); }

absl::string_view Name(ClaimKind kind) {
  switch (kind) {
    case ClaimKind::kEvery:
      return "every";
    case ClaimKind::kUpTo:
      return "up_to";
    case ClaimKind::kArithmetic:
      return "arithmetic";
    case ClaimKind::kElsewhere:
      return "elsewhere";
  }
  return "unknown";
}

// The dense networks measured beside the claim's own.
Json BaselinesToJson(const ClaimPoint& point) {
  const BenchmarkCase& measured = point.measured();
  Json baselines = Json::array();
  for (size_t i = 0; i < measured.other_baselines.size(); ++i) {
    const Baseline& baseline = point.report().other_baselines[i];
    baselines.push_back(
        {{"kind", String(Name(baseline.kind))},
         {"description", baseline.description},
         {"seconds", point.SecondsOf(measured.other_baselines[i])},
         {"speedup", point.SpeedupOver(baseline.kind)}});
  }
  return baselines;
}

Json PointToJson(const ClaimPoint& point) {
  const BenchmarkCase& measured = point.measured();
  const TimeBound bound = BoundOf(point);
  return {{"run", point.run.Name()},
          {"case", point.run.case_name},
          {"depth", point.run.depth},
          {"rows", point.run.rows},
          {"threads", point.run.threads},
          {"cold", point.run.cold},
          {"neurons", measured.neurons},
          {"speedup", point.speedup()},
          {"waited_share", point.record.waited_share},
          {"disturbed", point.disturbed()},
          {"judged", point.judged()},
          {"fff_s", point.SecondsOf(measured.fff)},
          {"fff_p10_s", measured.fff.latency.p10_s},
          {"fff_p90_s", measured.fff.latency.p90_s},
          {"kernel", measured.fff.kernel},
          {"dense", point.report().dense_description},
          {"dense_kernel", measured.dense.kernel},
          {"dense_s", point.SecondsOf(measured.dense)},
          {"dense_p10_s", measured.dense.latency.p10_s},
          {"dense_p90_s", measured.dense.latency.p90_s},
          {"dense_strength", DenseStrength(point)},
          {"bound_s", bound.seconds},
          {"bound_by", bound.memory ? "memory" : "arithmetic"},
          {"bound_reached", bound.reached},
          {"memory_gbps", point.report().memory_gbps},
          {"peak_gflops", point.report().peak_gflops},
          {"baselines", BaselinesToJson(point)},
          {"baselines_left_out", point.report().baselines_left_out},
          {"distinct_leaves", measured.distinct_leaves},
          {"top_leaf_share", measured.top_leaf_share}};
}

Json ResultToJson(const ClaimResult& result) {
  const Claim& claim = result.claim;
  Json points = Json::array();
  for (const ClaimPoint& point : result.points) {
    points.push_back(PointToJson(point));
  }
  return {{"id", claim.id},
          {"claim", claim.text},
          {"source", String(claim.source->name)},
          {"url", String(claim.source->url)},
          {"conditions", String(claim.source->conditions)},
          {"flaws", String(claim.source->flaws)},
          {"published", claim.published},
          {"kind", String(Name(claim.kind))},
          {"points", std::move(points)},
          {"left_out", result.left_out},
          {"verdict", String(Name(result.verdict.kind))},
          {"sentence", result.verdict.sentence}};
}

}  // namespace

std::string ClaimsJson(const ClaimsReport& report) {
  Json counts = Json::object();
  for (const VerdictKind kind : kVerdictKinds) {
    counts[String(Name(kind))] = report.Count(kind);
  }
  Json claims = Json::array();
  for (const ClaimResult& result : report.results) {
    claims.push_back(ResultToJson(result));
  }
  const Json json = {{"version", report.version},
                     {"date", report.date},
                     {"cpu_model", report.cpu_model},
                     {"isa", report.isa},
                     {"threads_all", report.threads_all},
                     {"quick", report.quick},
                     {"seconds", report.seconds},
                     {"counts", std::move(counts)},
                     {"disturbed_runs", report.Disturbed()},
                     {"how_to_read", HowToRead(report)},
                     {"claims", std::move(claims)}};
  // The processor's name comes from the system: bytes that are not UTF-8 are
  // replaced.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace fff::benchmark
