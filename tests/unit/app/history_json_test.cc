#include "server/app/history_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace fff::app {
namespace {

TEST(HistoryJson, LeavesOutWhatIsNothing) {
  const absl::Time now = absl::UnixEpoch() + absl::Seconds(100);
  metrics::HistoryStep step;
  step.begin = now - absl::Milliseconds(2500);
  step.end = now - absl::Milliseconds(1500);
  step.codes[0] = 4;
  step.durations.assign(metrics::DurationBoundsNs().size() + 1, 0);
  step.durations[0] = 3;
  step.durations.back() = 1;
  step.batch_rows.assign(metrics::RowBounds().size() + 1, 0);
  step.batch_rows[6] = 2;
  step.costs.resize(metrics::RowBounds().size() + 1);
  step.costs[6] = {128, 500'000};
  step.duration_ns = 2'000'000;
  step.compute_ns = 500'000;
  step.rows = 128;
  const metrics::HistoryView view = {{step.begin, step.end},
                                     {{{"m\xff", "1", "fff", "cpu"}, {step}},
                                      {{"idle", "1", "fff", "cpu"}, {}}}};
  const auto json = nlohmann::json::parse(HistoryJson(view, now));
  EXPECT_EQ(json["ages_s"], (nlohmann::json{2.5, 1.5}));
  ASSERT_EQ(json["series"].size(), 1u);
  EXPECT_EQ(json["series"][0]["implementation"], "fff");
  const auto& told = json["series"][0]["steps"][0];
  EXPECT_EQ(told["age_s"], 2.5);
  EXPECT_EQ(told["rows"], 128);
  EXPECT_DOUBLE_EQ(told["duration_s"], 2e-3);
  EXPECT_EQ(told["codes"], (nlohmann::json{{"OK", 4}}));
  EXPECT_EQ(told["durations"].size(), 2u);
  EXPECT_EQ(told["durations"]["+Inf"], 1);
  EXPECT_EQ(told["batch_rows"], (nlohmann::json{{"64", 2}}));
  EXPECT_EQ(told["costs"]["64"][0], 128);
}

TEST(HistoryJson, OfNothing) {
  EXPECT_EQ(HistoryJson({}, absl::UnixEpoch()),
            "{\"ages_s\":[],\"series\":[]}");
}

}  // namespace
}  // namespace fff::app
