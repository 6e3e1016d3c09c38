#include <cmath>
#include <utility>

#include "nlohmann/json.hpp"
#include "server/benchmark/own_data/advice.h"
#include "server/benchmark/own_data/data_report.h"
#include "server/benchmark/report_json.h"

namespace fff::benchmark {
namespace {

using Json = nlohmann::ordered_json;

Json ToJson(const Interval& interval) {
  Json json = {{"value", interval.value}, {"low", nullptr}, {"high", nullptr}};
  // One answer has an interval without ends, which JSON has no number for.
  if (std::isfinite(interval.low)) json["low"] = interval.low;
  if (std::isfinite(interval.high)) json["high"] = interval.high;
  return json;
}

Json CandidatesJson(const DataReport& report) {
  const std::optional<size_t> best = report.Best();
  const bool classes = report.truth == TruthKind::kClasses;
  Json candidates = Json::array();
  for (size_t at = 0; at < report.candidates.size(); ++at) {
    const Candidate& candidate = report.candidates[at];
    Json json = {{"name", candidate.name},
                 {"version", candidate.version > 0 ? candidate.version
                                                   : report.latency.version},
                 {"answers", candidate.losses.size()}};
    if (report.Judged(at)) {
      json[classes ? "accuracy" : "rms_error"] = ToJson(report.Quality(at));
      json["worse_than_best"] = ToJson(report.Worse(at, *best));
      json["best"] = at == *best;
    }
    candidates.push_back(std::move(json));
  }
  return candidates;
}

Json ClassesJson(const DataReport& report) {
  Json classes = Json::array();
  for (const ClassScore& score : report.classes) {
    Json right = Json::object();
    for (size_t at = 0; at < report.candidates.size(); ++at) {
      if (score.right[at] >= 0) {
        right[report.candidates[at].name] = score.right[at];
      }
    }
    classes.push_back({{"class", score.index},
                       {"label", score.label},
                       {"answers", score.answers},
                       {"right", std::move(right)}});
  }
  return classes;
}

Json AdviceJson(const DataReport& report) {
  Json all = Json::array();
  for (const Advice& advice : Advise(report)) {
    Json json = {{"rows_min", advice.rows_min},
                 {"rows_max", advice.rows_max},
                 {"choice", nullptr},
                 {"sentence", advice.sentence}};
    if (advice.choice.has_value()) {
      json["choice"] = report.candidates[*advice.choice].name;
    }
    all.push_back(std::move(json));
  }
  return all;
}

}  // namespace

std::string DataJson(const DataReport& report) {
  Json json = {{"data", report.data},
               {"data_rows", report.rows},
               {"truth", std::string(Name(report.truth))},
               {"candidates", CandidatesJson(report)},
               {"classes", ClassesJson(report)},
               {"versions_left_out", report.versions_left_out},
               {"advice", AdviceJson(report)},
               {"latency", Json::parse(ReportJson(report.latency))}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace fff::benchmark
