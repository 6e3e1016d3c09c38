#include "server/app/history_json.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"

namespace fff::app {
namespace {

using Json = nlohmann::ordered_json;
constexpr double kSecondsPerNs = 1e-9;

// The label of a bucket: a number that both sides read alike. `scale` is 1 for
// rows.
std::string Label(absl::Span<const uint64_t> bounds, size_t bucket,
                  double scale) {
  if (bucket >= bounds.size()) return "+Inf";
  if (scale == 1) return absl::StrCat(bounds[bucket]);
  return Json(static_cast<double>(bounds[bucket]) * scale).dump();
}

Json Buckets(absl::Span<const uint64_t> bounds,
             const std::vector<uint64_t>& counts, double scale) {
  Json buckets = Json::object();
  for (size_t b = 0; b < counts.size(); ++b) {
    if (counts[b] > 0) buckets[Label(bounds, b, scale)] = counts[b];
  }
  return buckets;
}

Json StepJson(const metrics::HistoryStep& step, absl::Time now) {
  Json codes = Json::object();
  for (size_t c = 0; c < step.codes.size(); ++c) {
    if (step.codes[c] == 0) continue;
    codes[std::string(metrics::StatusCodeName(static_cast<int>(c)))] =
        step.codes[c];
  }
  Json costs = Json::object();
  for (size_t b = 0; b < step.costs.size(); ++b) {
    if (step.costs[b].rows == 0) continue;
    costs[Label(metrics::RowBounds(), b, 1)] = {
        step.costs[b].rows,
        static_cast<double>(step.costs[b].compute_ns) * kSecondsPerNs};
  }
  return {{"age_s", absl::ToDoubleSeconds(now - step.begin)},
          {"rows", step.rows},
          {"compute_s", static_cast<double>(step.compute_ns) * kSecondsPerNs},
          {"duration_s", static_cast<double>(step.duration_ns) * kSecondsPerNs},
          {"codes", std::move(codes)},
          {"durations",
           Buckets(metrics::DurationBoundsNs(), step.durations, kSecondsPerNs)},
          {"batch_rows", Buckets(metrics::RowBounds(), step.batch_rows, 1)},
          {"costs", std::move(costs)}};
}

}  // namespace

std::string HistoryJson(const metrics::HistoryView& view, absl::Time now) {
  Json ages = Json::array();
  for (const absl::Time sample : view.samples) {
    ages.push_back(absl::ToDoubleSeconds(now - sample));
  }
  Json all = Json::array();
  for (const metrics::HistorySeries& one : view.series) {
    if (one.steps.empty()) continue;
    Json steps = Json::array();
    for (const metrics::HistoryStep& step : one.steps) {
      steps.push_back(StepJson(step, now));
    }
    all.push_back({{"model", one.labels.model},
                   {"version", one.labels.version},
                   {"implementation", one.labels.implementation},
                   {"steps", std::move(steps)}});
  }
  const Json whole = {{"ages_s", std::move(ages)}, {"series", std::move(all)}};
  return whole.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace fff::app
