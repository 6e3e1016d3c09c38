#include "server/metrics/openmetrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "server/metrics/exporter.h"
#include "server/metrics/metric_table.h"

// tests/integration/test_openmetrics.py holds the text of a whole server
// against a parser of others.
namespace fff::metrics {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::Not;

prometheus::MetricFamily FamilyOf(prometheus::MetricType type,
                                  const std::string& name) {
  prometheus::MetricFamily family;
  family.type = type;
  family.name = name;
  family.help = "Says \"what\"\\\nand why.";
  return family;
}

TEST(OpenMetricsText, NamesACounterWithoutTheEndingOfItsSamples) {
  prometheus::MetricFamily family =
      FamilyOf(prometheus::MetricType::Counter, "rows_total");
  family.metric.resize(2);
  family.metric[0].counter.value = 12;
  family.metric[0].label = {{"model", "a\"b\\c\nd"}, {"version", "1"}};
  family.metric[1].counter.value = 1e20;
  EXPECT_EQ(OpenMetricsText({{family, "rows", 1, {}}}),
            "# TYPE rows counter\n"
            "# HELP rows Says \\\"what\\\"\\\\\\nand why.\n"
            "rows_total{model=\"a\\\"b\\\\c\\nd\",version=\"1\"} 12\n"
            "rows_total 1e+20\n"
            "# EOF\n");
}

TEST(OpenMetricsText, TellsTheUnitThatANameEndsWith) {
  prometheus::MetricFamily family =
      FamilyOf(prometheus::MetricType::Gauge, "size_bytes");
  family.metric.resize(3);
  family.metric[0].gauge.value = std::nan("");
  family.metric[1].gauge.value = -HUGE_VAL;
  family.metric[2].gauge.value = 0.1;
  EXPECT_THAT(OpenMetricsText({{family, "bytes", 1, {}}}),
              AllOf(HasSubstr("# UNIT size_bytes bytes\n"),
                    HasSubstr("\nsize_bytes NaN\nsize_bytes -Inf\n"
                              "size_bytes 0.1\n# EOF\n")));
  EXPECT_THAT(OpenMetricsText({{family, "seconds", 1, {}}}),
              Not(HasSubstr("# UNIT")));
}

TEST(OpenMetricsText, NoFamilyAtAllIsAWholeText) {
  EXPECT_EQ(OpenMetricsText({}), "# EOF\n");
}

class OpenMetricsExportTest : public ::testing::Test {
 protected:
  std::vector<std::string> Lines(TextFormat format) const {
    return absl::StrSplit(ExportText(metrics_, true, format), '\n');
  }
  // The lines that begin with `start`.
  static std::vector<std::string> Starting(
      const std::vector<std::string>& lines, const std::string& start) {
    std::vector<std::string> found;
    for (const std::string& line : lines) {
      if (absl::StartsWith(line, start)) found.push_back(line);
    }
    return found;
  }

  ServerMetrics metrics_{"1.2.3"};
  std::shared_ptr<ModelMetrics> model_ =
      metrics_.Register({"m", "2", "fff", "cpu"}, {}, {}).metrics;
};

TEST_F(OpenMetricsExportTest, HasTheSamplesOfThePrometheusText) {
  model_->RecordRequest(Method::kPredict, 0, 1'500'001);
  model_->RecordRequest(Method::kModelInfer, 5, 20'000'000'000);
  model_->queue_duration.Observe(123'457);
  const auto samples = [&](TextFormat format) {
    std::vector<std::string> found;
    for (const std::string& line : Lines(format)) {
      // What moves between two scrapes.
      if (!line.empty() && line[0] != '#' &&
          !absl::StartsWith(line, "process_")) {
        found.push_back(line);
      }
    }
    std::sort(found.begin(), found.end());
    return found;
  };
  const std::vector<std::string> plain = samples(TextFormat::kPrometheus);
  EXPECT_GT(plain.size(), 100u);
  // To the letter, so that a series goes on when its scraper changes over.
  EXPECT_THAT(samples(TextFormat::kOpenMetrics), ElementsAreArray(plain));
}

TEST_F(OpenMetricsExportTest, EveryFamilyHasItsTypeHelpAndUnit) {
  const std::vector<std::string> lines = Lines(TextFormat::kOpenMetrics);
  EXPECT_EQ(Starting(lines, "# TYPE ").size(), MetricTable().size());
  EXPECT_EQ(Starting(lines, "# HELP ").size(), MetricTable().size());
  EXPECT_THAT(Starting(lines, "# UNIT process_cpu"),
              ElementsAreArray({"# UNIT process_cpu_seconds seconds"}));
  EXPECT_THAT(Starting(lines, "# UNIT fff_leaf_visits"), ::testing::IsEmpty());
  ASSERT_GE(lines.size(), 2u);
  EXPECT_EQ(lines[lines.size() - 2], "# EOF");
}

TEST_F(OpenMetricsExportTest, ExemplarsStandOnTheBucketOfTheirRequest) {
  base::TraceIds trace;
  trace.trace_id = {0x4b, 0xf9};
  trace.trace_id[15] = 0x36;
  trace.span_id = {0, 0xf0};
  model_->RecordRequest(Method::kPredict, 0, 250'000);
  model_->RecordTrace(Method::kPredict, 250'000, trace, 1'700'000'000'045);
  const std::string start =
      "fff_request_duration_seconds_bucket{model=\"m\",version=\"2\","
      "implementation=\"fff\",method=\"Predict\",le=\"";
  std::vector<std::string> with;
  const std::vector<std::string> lines = Lines(TextFormat::kOpenMetrics);
  for (const std::string& line : lines) {
    if (absl::StrContains(line, " # ")) with.push_back(line);
  }
  EXPECT_THAT(
      with, ElementsAreArray({absl::StrCat(
                start,
                "0.0003\"} 1 # {trace_id=\"4bf90000000000000000000000000036\","
                "span_id=\"00f0000000000000\"} 0.00025 1700000000.045")}));
  EXPECT_EQ(Starting(lines, start).size(), DurationBoundsNs().size() + 1);
  for (const std::string& line : Lines(TextFormat::kPrometheus)) {
    EXPECT_THAT(line, Not(HasSubstr("trace_id")));
  }
}

TEST_F(OpenMetricsExportTest, AnExemplarAboveTheLastBoundIsInTheLastBucket) {
  model_->RecordRequest(Method::kPredict, 0, 60'000'000'000);
  model_->RecordTrace(Method::kPredict, 60'000'000'000, {}, 1'000);
  EXPECT_THAT(ExportText(metrics_, true, TextFormat::kOpenMetrics),
              HasSubstr("le=\"+Inf\"} 1 # {trace_id=\"0000"));
}

}  // namespace
}  // namespace fff::metrics
