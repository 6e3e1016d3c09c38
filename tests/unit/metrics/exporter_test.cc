#include "server/metrics/exporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "server/metrics/metric_table.h"
#include "tests/unit/metrics/exposition.h"

namespace fff::metrics {
namespace {

using Families = std::map<std::string, Family>;

// A server with one model, its twin, and some of everything recorded.
class ExporterTest : public ::testing::Test {
 protected:
  ExporterTest() : metrics_("9.8.7") {
    ModelInfo info;
    info.file = "model.pt";
    info.description = "fff 4 -> 2";
    info.weights_bytes = 4096;
    info.accuracy = 0.75;
    const auto fff =
        metrics_.Register({"m", "2", "fff", "cpu"}, info, {{1, 2}},
                          {{"linear", 1, false, 0}, {"fff", 1, true, 1}});
    fff_layers_ = fff.layer_times;
    fff_ = fff.metrics;
    fff_visits_ = fff.leaf_visits;
    info.dense_kind = "cost_baseline";
    info.accuracy.reset();
    dense_ = metrics_.Register({"m", "2", "dense", "cpu"}, info, {}).metrics;
  }

  void RecordTraffic() {
    fff_->RecordRequest(Method::kPredict, 0, 1'500'000);
    fff_->RecordRequest(Method::kPredict, 8, 12'000);
    dense_->RecordRequest(Method::kPredictDense, 0, 20'000'000'000);
    fff_->queue_duration.Observe(10'000);
    fff_->compute_duration.Observe(10'001);
    fff_->batch_rows.Observe(64);
    fff_->batch_costs.Add(64, 10'001);
    fff_->rows.Add(64);
    fff_->queue_rows.Add(7);
    fff_->inflight.Add(2);
    fff_visits_->front().Record({0, 3, 3});
    fff_layers_->Record({{1'000'000, 250'000}, 64, 64});
    metrics_.SetModelReady("m", true);
    metrics_.SetLoadDuration("m", "2", 0.25);
    auto progress = std::make_shared<base::Progress>();
    progress->Begin("reading", 4000);
    EXPECT_TRUE(progress->Advance(1000).ok());
    metrics_.SetLoad("m", "3", progress);
    metrics_.AddLoadFailure("m");
    metrics_.SetSpeedup("m", "2", 16, 1, 12.5);
  }

  Families Export() const {
    return ParseExposition(ExportText(metrics_, true));
  }

  ServerMetrics metrics_;
  std::shared_ptr<ModelMetrics> fff_;
  std::shared_ptr<LayerVisits> fff_visits_;
  std::shared_ptr<LayerTimes> fff_layers_;
  std::shared_ptr<ModelMetrics> dense_;
};

std::vector<std::string> LabelNames(const Sample& sample) {
  std::vector<std::string> names;
  for (const auto& [name, value] : sample.labels) names.push_back(name);
  return names;
}

TEST_F(ExporterTest, ExportsExactlyTheTable) {
  RecordTraffic();
  const Families families = Export();
  std::set<std::string> exported;
  for (const auto& [name, family] : families) exported.insert(name);
  std::set<std::string> table;
  for (const MetricDescription& row : MetricTable()) {
    table.insert(std::string(row.name));
  }
  EXPECT_EQ(exported, table);
}

TEST_F(ExporterTest, EveryFamilyHasTheTablesTypeHelpAndLabelsInOrder) {
  RecordTraffic();
  const Families families = Export();
  for (const MetricDescription& row : MetricTable()) {
    SCOPED_TRACE(row.name);
    const Family& family = families.at(std::string(row.name));
    EXPECT_EQ(family.type, Name(row.type));
    EXPECT_EQ(family.help, row.help);
    EXPECT_FALSE(family.samples.empty());
    for (const Sample& sample : family.samples) {
      std::vector<std::string> names = LabelNames(sample);
      if (absl::EndsWith(sample.name, "_bucket")) {
        ASSERT_FALSE(names.empty());
        EXPECT_EQ(names.back(), "le");
        names.pop_back();
      }
      const std::vector<std::string> wanted =
          absl::StrSplit(row.labels, ',', absl::SkipEmpty());
      EXPECT_EQ(names, wanted);
    }
  }
}

TEST_F(ExporterTest, NoSeriesIsExportedTwice) {
  RecordTraffic();
  for (const auto& [name, family] : Export()) {
    std::set<std::vector<std::pair<std::string, std::string>>> seen;
    for (const Sample& sample : family.samples) {
      auto key = sample.labels;
      key.emplace_back("sample", sample.name);
      EXPECT_TRUE(seen.insert(key).second) << name;
    }
  }
}

TEST_F(ExporterTest, EveryFamilyIsThereBeforeTheFirstRequest) {
  const Families families = Export();
  for (const MetricDescription& row : MetricTable()) {
    EXPECT_EQ(families.count(std::string(row.name)), 1u) << row.name;
  }
  EXPECT_TRUE(families.at("fff_requests_total").samples.empty());
  EXPECT_EQ(ValueOf(families, "fff_rows_total", {{"implementation", "dense"}}),
            0);
  EXPECT_EQ(ValueOf(families, "fff_queue_rows", {{"implementation", "fff"}}),
            0);
}

TEST_F(ExporterTest, WhatHasSeenNothingYetHasNoBuckets) {
  for (const char* name :
       {"fff_queue_duration_seconds", "fff_compute_duration_seconds",
        "fff_batch_rows", "fff_leaf_visits_total"}) {
    EXPECT_TRUE(Export().at(name).samples.empty()) << name;
  }
  RecordTraffic();
  const Families families = Export();
  const std::vector<Sample>& queue =
      families.at("fff_queue_duration_seconds").samples;
  EXPECT_FALSE(queue.empty());
  for (const Sample& sample : queue) {
    EXPECT_EQ(sample.Label("implementation"), "fff") << sample.name;
  }
}

TEST_F(ExporterTest, AServerWithoutModelsExportsAllTheSame) {
  const ServerMetrics empty("1");
  const Families families = ParseExposition(ExportText(empty, false));
  EXPECT_EQ(ValueOf(families, "fff_build_info", {{"version", "1"}}), 1);
  EXPECT_TRUE(families.at("fff_model_info").samples.empty());
  EXPECT_EQ(ValueOf(families, "fff_server_ready", {}), 0);
}

TEST_F(ExporterTest, ValuesStandUnderTheirLabels) {
  RecordTraffic();
  const Families families = Export();
  EXPECT_EQ(ValueOf(families, "fff_requests_total",
                    {{"model", "m"},
                     {"version", "2"},
                     {"implementation", "fff"},
                     {"method", "Predict"},
                     {"code", "RESOURCE_EXHAUSTED"}}),
            1);
  EXPECT_EQ(ValueOf(families, "fff_rows_total", {{"implementation", "fff"}}),
            64);
  EXPECT_EQ(ValueOf(families, "fff_queue_rows", {{"implementation", "fff"}}),
            7);
  EXPECT_EQ(
      ValueOf(families, "fff_inflight_requests", {{"implementation", "fff"}}),
      2);
  EXPECT_EQ(ValueOf(families, "fff_model_info",
                    {{"implementation", "fff"},
                     {"device", "cpu"},
                     {"file", "model.pt"},
                     {"dense_kind", ""},
                     {"description", "fff 4 -> 2"}}),
            1);
  EXPECT_EQ(ValueOf(families, "fff_model_ready", {{"model", "m"}}), 1);
  EXPECT_EQ(
      ValueOf(families, "fff_model_weights_bytes", {{"implementation", "fff"}}),
      4096);
  EXPECT_EQ(ValueOf(families, "fff_model_accuracy_ratio",
                    {{"model", "m"}, {"version", "2"}}),
            0.75);
  EXPECT_EQ(families.at("fff_model_accuracy_ratio").samples.size(), 1u)
      << "nothing is stated of the twin";
  EXPECT_EQ(ValueOf(families, "fff_model_load_duration_seconds",
                    {{"model", "m"}, {"version", "2"}}),
            0.25);
  EXPECT_EQ(ValueOf(families, "fff_model_load_done_bytes",
                    {{"version", "3"}, {"stage", "reading"}}),
            1000);
  EXPECT_EQ(ValueOf(families, "fff_model_load_total_bytes",
                    {{"version", "3"}, {"stage", "reading"}}),
            4000);
  EXPECT_EQ(ValueOf(families, "fff_model_load_failures_total", {}), 1);
  EXPECT_EQ(ValueOf(families, "fff_benchmark_speedup_ratio",
                    {{"rows", "16"}, {"threads", "1"}}),
            12.5);
}

TEST_F(ExporterTest, LeafVisitsNameLayerAndSubtree) {
  RecordTraffic();
  const Families families = Export();
  EXPECT_EQ(families.at("fff_leaf_visits_total").samples.size(), 4u);
  const auto visits = [&](const std::string& subtree) {
    return ValueOf(families, "fff_leaf_visits_total",
                   {{"layer", "1"}, {"subtree", subtree}});
  };
  EXPECT_EQ(visits("0"), 1);
  EXPECT_EQ(visits("1"), 0);
  EXPECT_EQ(visits("3"), 2);
}

TEST_F(ExporterTest, LayersTimesStandByImplementationWhereThereAreAny) {
  RecordTraffic();
  const Families families = Export();
  const std::string name = "fff_layer_sampled_seconds_total";
  EXPECT_EQ(families.at(name).samples.size(), 2u);  // the twin has no groups
  EXPECT_DOUBLE_EQ(
      ValueOf(families, name, {{"implementation", "fff"}, {"layer", "1"}}),
      250e-6);
  EXPECT_DOUBLE_EQ(
      ValueOf(families, name, {{"implementation", "fff"}, {"layer", "other"}}),
      1e-3);
}

TEST_F(ExporterTest, HistogramsAreCumulativeAndEndAtTheirCount) {
  RecordTraffic();
  for (const auto& [name, family] : Export()) {
    if (family.type != "histogram") continue;
    SCOPED_TRACE(name);
    double last = 0;
    double last_bound = -1;
    for (const Sample& sample : family.samples) {
      if (absl::EndsWith(sample.name, "_bucket")) {
        const std::string le = sample.Label("le");
        const double bound = le == "+Inf" ? HUGE_VAL : std::stod(le);
        // A new series starts over.
        if (bound < last_bound) last = 0;
        EXPECT_GE(sample.value, last);
        last = sample.value;
        last_bound = bound;
        if (le != "+Inf") continue;
        auto labels = sample.labels;
        labels.pop_back();
        const Families only = {{name, family}};
        const Sample* count = FindSample(only, name, name + "_count", labels);
        ASSERT_NE(count, nullptr);
        EXPECT_EQ(count->value, sample.value);
      }
    }
    EXPECT_EQ(last_bound, HUGE_VAL);
  }
}

TEST_F(ExporterTest, DurationsAreExportedInSeconds) {
  RecordTraffic();
  const Families families = Export();
  const std::string name = "fff_request_duration_seconds";
  const Sample* sum =
      FindSample(families, name, name + "_sum", {{"method", "Predict"}});
  ASSERT_NE(sum, nullptr);
  EXPECT_DOUBLE_EQ(sum->value, 1.512e-3);
  // 10 us falls into the first bucket, a nanosecond more into the second.
  const auto bucket = [&](const std::string& family, const std::string& le) {
    const Sample* sample = FindSample(families, family, family + "_bucket",
                                      {{"le", le}, {"implementation", "fff"}});
    return sample == nullptr ? -1 : sample->value;
  };
  EXPECT_EQ(bucket("fff_queue_duration_seconds", "1e-05"), 1);
  EXPECT_EQ(bucket("fff_compute_duration_seconds", "1e-05"), 0);
  EXPECT_EQ(bucket("fff_compute_duration_seconds", "1.5e-05"), 1);
}

TEST_F(ExporterTest, AValueAboveTheLastBoundIsInTheLastBucketAlone) {
  RecordTraffic();
  const Families families = Export();
  const std::string name = "fff_request_duration_seconds";
  const auto bucket = [&](const std::string& le) {
    return FindSample(families, name, name + "_bucket",
                      {{"method", "PredictDense"}, {"le", le}})
        ->value;
  };
  EXPECT_EQ(bucket("10"), 0);
  EXPECT_EQ(bucket("+Inf"), 1);
}

TEST_F(ExporterTest, RowsAreNotScaled) {
  RecordTraffic();
  const Families families = Export();
  const auto sample = [&](const std::string& ending) {
    return FindSample(families, "fff_batch_rows", "fff_batch_rows" + ending,
                      {{"implementation", "fff"}});
  };
  EXPECT_EQ(sample("_sum")->value, 64);
  EXPECT_EQ(FindSample(families, "fff_batch_rows", "fff_batch_rows_bucket",
                       {{"implementation", "fff"}, {"le", "64"}})
                ->value,
            1);
  EXPECT_EQ(FindSample(families, "fff_batch_rows", "fff_batch_rows_bucket",
                       {{"implementation", "fff"}, {"le", "32"}})
                ->value,
            0);
}

TEST_F(ExporterTest, RequestsForModelsThatAreNotServedShareOneSeries) {
  metrics_.unknown_model().RecordRequest(Method::kModelInfer, 5, 1000);
  metrics_.unknown_model().RecordRequest(Method::kModelInfer, 5, 1000);
  const Families families = Export();
  EXPECT_EQ(ValueOf(families, "fff_requests_total",
                    {{"model", "unknown"},
                     {"version", ""},
                     {"method", "ModelInfer"},
                     {"code", "NOT_FOUND"}}),
            2);
  // It is no model: nothing else is exported of it.
  for (const auto& [name, family] : families) {
    if (absl::StartsWith(name, "fff_request")) continue;
    for (const Sample& sample : family.samples) {
      EXPECT_NE(sample.Label("model"), "unknown") << name;
    }
  }
}

TEST_F(ExporterTest, LabelValuesKeepQuotesNewlinesAndBackslashes) {
  const std::string nasty = "say \"hi\"\\path\nnext \xc3\xa4";
  ModelInfo info;
  info.description = nasty;
  metrics_.Register({nasty, "1", "fff", "cpu"}, info, {});
  const Families families = Export();
  EXPECT_EQ(ValueOf(families, "fff_model_info",
                    {{"model", nasty}, {"description", nasty}}),
            1);
}

TEST_F(ExporterTest, ExportsTheProcess) {
  const Families families = Export();
  EXPECT_GT(ValueOf(families, "process_resident_memory_bytes", {}), 0);
  EXPECT_GT(ValueOf(families, "process_open_fds", {}), 0);
  EXPECT_GE(ValueOf(families, "process_threads", {}), 1);
}

TEST(ContentType, IsThatOfTheTextFormat) {
  EXPECT_STREQ(kTextContentType, "text/plain; version=0.0.4");
}

TEST(MetricTable, FollowsTheNamingRules) {
  std::set<absl::string_view> names;
  for (const MetricDescription& row : MetricTable()) {
    SCOPED_TRACE(row.name);
    EXPECT_TRUE(names.insert(row.name).second);
    EXPECT_TRUE(absl::StartsWith(row.name, "fff_") ||
                absl::StartsWith(row.name, "process_"));
    EXPECT_EQ(absl::EndsWith(row.name, "_total"),
              row.type == MetricType::kCounter);
    EXPECT_FALSE(row.help.empty());
    EXPECT_EQ(&DescriptionOf(row.name), &row);
    // Base units stand in the name.
    if (row.unit == "seconds" || row.unit == "bytes" || row.unit == "ratio") {
      EXPECT_TRUE(absl::StrContains(row.name, row.unit));
    } else {
      EXPECT_THAT(row.unit, ::testing::AnyOf("", "rows", "tokens"));
    }
  }
}

TEST(MetricTableDeathTest, OfANameThatIsNotThereIsOurOwnMistake) {
  EXPECT_DEATH(DescriptionOf("fff_no_such_metric"), "");
}

}  // namespace
}  // namespace fff::metrics
