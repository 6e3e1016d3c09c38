#include "server/metrics/history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <string>

#include "absl/strings/str_cat.h"

namespace fff::metrics {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

class HistoryTest : public ::testing::Test {
 protected:
  static absl::Time At(double seconds) {
    return absl::UnixEpoch() + absl::Seconds(1000 + seconds);
  }
  std::shared_ptr<ModelMetrics> Serve(const std::string& model) {
    return metrics_.Register({model, "1", "fff", "cpu"}, {}, {}).metrics;
  }
  // Of the last `served` that is not the unknown model.
  HistorySeries SeriesOf(const std::string& model, double now) {
    for (HistorySeries& series : history_.Last(At(now)).series) {
      if (series.labels.model == model) return std::move(series);
    }
    return {};
  }

  ServerMetrics metrics_{"1"};
  History history_{&metrics_};
};

TEST_F(HistoryTest, IsEmptyBeforeTheFirstSample) {
  Serve("m")->rows.Add(3);
  EXPECT_THAT(history_.Last(At(0)).samples, IsEmpty());
  EXPECT_THAT(history_.Last(At(0)).series, IsEmpty());
}

TEST_F(HistoryTest, AStepIsWhatHappenedBetweenTwoSamples) {
  const auto m = Serve("m");
  m->rows.Add(100);  // before: not of the last minute
  history_.Sample(At(0));
  m->RecordRequest(Method::kPredict, 0, 1'500'000);
  m->RecordRequest(Method::kModelInfer, 0, 1'500'000);
  m->RecordRequest(Method::kPredict, 14, 12'000);
  m->rows.Add(64);
  m->compute_duration.Observe(20'000);
  m->batch_rows.Observe(64);
  m->batch_costs.Add(64, 20'000);
  history_.Sample(At(1));
  const HistorySeries series = SeriesOf("m", 1);
  ASSERT_THAT(series.steps, SizeIs(1));
  const HistoryStep& step = series.steps[0];
  EXPECT_EQ(step.begin, At(0));
  EXPECT_EQ(step.end, At(1));
  EXPECT_EQ(step.codes[0], 2);
  EXPECT_EQ(step.codes[14], 1);
  EXPECT_EQ(step.rows, 64);
  EXPECT_EQ(step.duration_ns, 3'012'000);
  EXPECT_EQ(step.compute_ns, 20'000);
  EXPECT_EQ(std::accumulate(step.durations.begin(), step.durations.end(), 0),
            3);
  EXPECT_EQ(step.batch_rows[6], 1);
  EXPECT_EQ(step.costs[6].rows, 64);
  EXPECT_EQ(step.costs[6].compute_ns, 20'000);
}

TEST_F(HistoryTest, SecondsWithoutRequestsTakeNoStep) {
  const auto m = Serve("m");
  for (int second = 0; second < 5; ++second) {
    if (second == 3) m->rows.Add(1);
    history_.Sample(At(second));
  }
  EXPECT_THAT(history_.Last(At(4)).samples, SizeIs(5));
  const HistorySeries series = SeriesOf("m", 4);
  ASSERT_THAT(series.steps, SizeIs(1));
  EXPECT_EQ(series.steps[0].begin, At(2));
}

TEST_F(HistoryTest, TheLastStepReachesToTheQuestion) {
  const auto m = Serve("m");
  history_.Sample(At(0));
  m->rows.Add(5);
  const HistorySeries series = SeriesOf("m", 0.4);
  ASSERT_THAT(series.steps, SizeIs(1));
  EXPECT_EQ(series.steps[0].end, At(0.4));
  EXPECT_EQ(series.steps[0].rows, 5);
}

TEST_F(HistoryTest, OnlyTheLastMinuteIsKept) {
  const auto m = Serve("m");
  for (int second = 0; second < 200; ++second) {
    m->rows.Add(1);
    history_.Sample(At(second));
  }
  EXPECT_THAT(history_.Last(At(199)).samples, SizeIs(61));
  EXPECT_THAT(SeriesOf("m", 199).steps, SizeIs(60));
  // Nobody sampled since: what is too old is not shown.
  EXPECT_THAT(history_.Last(At(500)).samples, IsEmpty());
  EXPECT_THAT(SeriesOf("m", 500).steps, IsEmpty());
}

TEST_F(HistoryTest, WhatIsServedLaterBeginsThenAndWhatIsGoneIsForgotten) {
  const auto m = Serve("m");
  history_.Sample(At(0));
  const auto late = Serve("late");
  late->rows.Add(7);
  m->rows.Add(1);
  history_.Sample(At(1));
  EXPECT_THAT(SeriesOf("late", 1).steps, IsEmpty());
  late->rows.Add(2);
  history_.Sample(At(2));
  ASSERT_THAT(SeriesOf("late", 2).steps, SizeIs(1));
  EXPECT_EQ(SeriesOf("late", 2).steps[0].rows, 2);
  metrics_.ForgetModel("m");
  history_.Sample(At(3));
  EXPECT_EQ(SeriesOf("m", 3).labels.model, "");
}

TEST_F(HistoryTest, FollowsSoManyImplementationsAndNoMore) {
  for (size_t i = 0; i < kHistorySeriesMax + 10; ++i) Serve(absl::StrCat(i));
  history_.Sample(At(0));
  EXPECT_THAT(history_.Last(At(0)).series, SizeIs(kHistorySeriesMax));
}

}  // namespace
}  // namespace fff::metrics
