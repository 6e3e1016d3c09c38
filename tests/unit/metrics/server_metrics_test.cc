#include "server/metrics/server_metrics.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace fff::metrics {
namespace {

const ModelLabels kLabels = {"m", "1", "fff", "cpu"};

TEST(ServerMetrics, StartsWithTheUnknownModelAlone) {
  ServerMetrics metrics("1.2.3");
  const ServerMetrics::Snapshot snapshot = metrics.TakeSnapshot();
  EXPECT_EQ(snapshot.server_version, "1.2.3");
  ASSERT_EQ(snapshot.served.size(), 1u);
  EXPECT_EQ(snapshot.served[0].metrics.get(), &metrics.unknown_model());
  EXPECT_FALSE(snapshot.served[0].loaded);
  EXPECT_EQ(metrics.unknown_model().labels.model, "unknown");
  EXPECT_TRUE(snapshot.model_ready.empty());
  EXPECT_TRUE(snapshot.load_failures.empty());
}

TEST(Register, GivesEveryVersionAndImplementationItsOwnMetrics) {
  ServerMetrics metrics("1");
  const auto fff = metrics.Register(kLabels, {}, {}).metrics;
  const auto dense =
      metrics.Register({"m", "1", "dense", "cpu"}, {}, {}).metrics;
  const auto second =
      metrics.Register({"m", "2", "fff", "cpu"}, {}, {}).metrics;
  const auto other = metrics.Register({"n", "1", "fff", "cpu"}, {}, {}).metrics;
  fff->rows.Add(3);
  EXPECT_EQ(dense->rows.Value() + second->rows.Value() + other->rows.Value(),
            0u);
  EXPECT_EQ(metrics.TakeSnapshot().served.size(), 5u);
}

TEST(Register, GoesOnCountingWhenAVersionIsLoadedAgain) {
  ServerMetrics metrics("1");
  ModelInfo info;
  info.file = "model.pt";
  const auto before = metrics.Register(kLabels, info, {{0, 4}});
  before.metrics->rows.Add(10);
  info.file = "model.safetensors";
  const auto after = metrics.Register(kLabels, info, {{0, 4}});
  EXPECT_EQ(after.metrics, before.metrics);
  EXPECT_EQ(after.leaf_visits, before.leaf_visits);
  EXPECT_EQ(after.metrics->rows.Value(), 10u);
  const ServerMetrics::Snapshot snapshot = metrics.TakeSnapshot();
  ASSERT_EQ(snapshot.served.size(), 2u);
  EXPECT_EQ(snapshot.served[1].info.file, "model.safetensors");
  EXPECT_TRUE(snapshot.served[1].loaded);
}

// A version whose files are replaced may come back with another depth. No
// counter can be forgotten on the way: both versions record into one object.
TEST(Register, TakesNewLayersAndGoesOnCountingAllElse) {
  ServerMetrics metrics("1");
  const auto before = metrics.Register(kLabels, {}, {{0, 2}});
  before.metrics->decode_ns.Add(3);
  before.metrics->encode_ns.Add(4);
  before.metrics->inflight.Add(1);
  before.leaf_visits->front().Record({0, 1, 3});
  const auto after = metrics.Register(kLabels, {}, {{0, 3}, {2, 1}});
  EXPECT_EQ(after.metrics, before.metrics);
  EXPECT_EQ(after.metrics->decode_ns.Value(), 3u);
  EXPECT_EQ(after.metrics->encode_ns.Value(), 4u);
  ASSERT_EQ(after.leaf_visits->size(), 2u);
  EXPECT_EQ(after.leaf_visits->at(0).buckets(), 8u);
  EXPECT_EQ(after.leaf_visits->at(0).Value(0), 0u);
  EXPECT_EQ(after.leaf_visits->at(1).layer().index, 2);
  before.metrics->inflight.Add(-1);
  EXPECT_EQ(after.metrics->inflight.Value(), 0);
  const ServerMetrics::Snapshot snapshot = metrics.TakeSnapshot();
  ASSERT_EQ(snapshot.served.size(), 2u);
  EXPECT_EQ(snapshot.served[1].leaf_visits, after.leaf_visits);
}

TEST(Register, SeesADepthThatChangedAmongTheSameLayers) {
  ServerMetrics metrics("1");
  const auto before = metrics.Register(kLabels, {}, {{0, 7}}).leaf_visits;
  EXPECT_EQ(metrics.Register(kLabels, {}, {{0, 7}}).leaf_visits, before);
  EXPECT_NE(metrics.Register(kLabels, {}, {{0, 8}}).leaf_visits, before);
}

TEST(Register, GoesOnWithTheTimesOfTheSameGroupsAlone) {
  ServerMetrics metrics("1");
  const std::vector<LayerGroup> groups = {{"linear", 1, false, 0},
                                          {"fff", 1, true, 1}};
  const auto before = metrics.Register(kLabels, {}, {}, groups).layer_times;
  before->Record({{1, 2}, 1, 1});
  EXPECT_EQ(metrics.Register(kLabels, {}, {}, groups).layer_times, before);
  auto others = groups;
  others[0].count = 2;
  const auto after = metrics.Register(kLabels, {}, {}, others).layer_times;
  EXPECT_NE(after, before);
  EXPECT_EQ(after->sums().batches, 0u);
  EXPECT_EQ(metrics.Register(kLabels, {}, {}).layer_times, nullptr);
}

TEST(ForgetVersion, EndsItsSeriesAndNoOthers) {
  ServerMetrics metrics("1");
  for (const char* version : {"1", "2"}) {
    for (const char* implementation : {"fff", "dense"}) {
      metrics.Register({"m", version, implementation, "cpu"}, {}, {});
    }
    metrics.SetLoadDuration("m", version, 1);
    metrics.SetSpeedup("m", version, 16, 1, 10);
  }
  metrics.Register({"n", "1", "fff", "cpu"}, {}, {});
  metrics.SetModelReady("m", true);
  metrics.ForgetVersion("m", "1");
  const ServerMetrics::Snapshot snapshot = metrics.TakeSnapshot();
  EXPECT_EQ(snapshot.served.size(), 4u);  // unknown, m/2 twice, n
  EXPECT_EQ(snapshot.load_seconds.size(), 1u);
  EXPECT_EQ(snapshot.load_seconds.count({"m", "2"}), 1u);
  EXPECT_EQ(snapshot.speedups.size(), 1u);
  EXPECT_TRUE(snapshot.model_ready.at("m"));
}

TEST(ForgetModel, EndsAllItsSeries) {
  ServerMetrics metrics("1");
  for (const char* model : {"m", "n"}) {
    metrics.Register({model, "1", "fff", "cpu"}, {}, {});
    metrics.SetLoadDuration(model, "1", 1);
    metrics.SetSpeedup(model, "1", 16, 1, 10);
    metrics.SetModelReady(model, true);
    metrics.AddLoadFailure(model);
  }
  metrics.ForgetModel("m");
  metrics.ForgetModel("never seen");
  const ServerMetrics::Snapshot snapshot = metrics.TakeSnapshot();
  EXPECT_EQ(snapshot.served.size(), 2u);  // unknown, n
  EXPECT_EQ(snapshot.load_seconds.count({"m", "1"}), 0u);
  EXPECT_EQ(snapshot.speedups.size(), 1u);
  EXPECT_EQ(snapshot.model_ready.count("m"), 0u);
  EXPECT_EQ(snapshot.load_failures.count("m"), 0u);
  EXPECT_EQ(snapshot.load_failures.at("n"), 1u);
}

TEST(Register, KeepsMetricsAliveForACallThatHoldsThem) {
  std::shared_ptr<ModelMetrics> held;
  {
    ServerMetrics metrics("1");
    held = metrics.Register(kLabels, {}, {}).metrics;
  }
  held->rows.Add(1);
  EXPECT_EQ(held->rows.Value(), 1u);
}

TEST(Register, OfTheSameLabelsFromManyThreadsGivesOneModel) {
  ServerMetrics metrics("1");
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        metrics.Register(kLabels, {}, {}).metrics->rows.Add(1);
        metrics.TakeSnapshot();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const ServerMetrics::Snapshot snapshot = metrics.TakeSnapshot();
  ASSERT_EQ(snapshot.served.size(), 2u);
  EXPECT_EQ(snapshot.served[1].metrics->rows.Value(), 1600u);
}

TEST(SetModelReady, TurnsBothWaysAndShowsZeroFailures) {
  ServerMetrics metrics("1");
  metrics.SetModelReady("m", true);
  EXPECT_TRUE(metrics.TakeSnapshot().model_ready.at("m"));
  EXPECT_EQ(metrics.TakeSnapshot().load_failures.at("m"), 0u);
  metrics.AddLoadFailure("m");
  metrics.SetModelReady("m", false);
  EXPECT_FALSE(metrics.TakeSnapshot().model_ready.at("m"));
  EXPECT_EQ(metrics.TakeSnapshot().load_failures.at("m"), 1u);
}

TEST(ClearModelReady, EndsThatSeriesAlone) {
  ServerMetrics metrics("1");
  metrics.SetModelReady("m", true);
  metrics.SetModelReady("n", true);
  metrics.AddLoadFailure("m");
  metrics.ClearModelReady("m");
  EXPECT_EQ(metrics.TakeSnapshot().model_ready.count("m"), 0u);
  EXPECT_TRUE(metrics.TakeSnapshot().model_ready.at("n"));
  EXPECT_EQ(metrics.TakeSnapshot().load_failures.at("m"), 1u);
}

TEST(AddLoadFailure, CountsAModelAtATime) {
  ServerMetrics metrics("1");
  metrics.AddLoadFailure("m");
  metrics.AddLoadFailure("m");
  metrics.AddLoadFailure("n");
  EXPECT_EQ(metrics.TakeSnapshot().load_failures.at("m"), 2u);
  EXPECT_EQ(metrics.TakeSnapshot().load_failures.at("n"), 1u);
}

TEST(SetLoadDuration, KeepsTheLastLoad) {
  ServerMetrics metrics("1");
  metrics.SetLoadDuration("m", "1", 2.5);
  metrics.SetLoadDuration("m", "1", 0.5);
  metrics.SetLoadDuration("m", "2", 4);
  const auto seconds = metrics.TakeSnapshot().load_seconds;
  EXPECT_EQ(seconds.at({"m", "1"}), 0.5);
  EXPECT_EQ(seconds.at({"m", "2"}), 4);
}

TEST(SetSpeedup, KeepsTheLastRatioOfASetting) {
  ServerMetrics metrics("1");
  metrics.Register(kLabels, {}, {});
  metrics.SetSpeedup("m", "1", 16, 1, 10);
  metrics.SetSpeedup("m", "1", 16, 1, 12);
  metrics.SetSpeedup("m", "1", 16, 2, 8);
  const auto speedups = metrics.TakeSnapshot().speedups;
  ASSERT_EQ(speedups.size(), 2u);
  EXPECT_EQ(speedups.at({"m", "1", 16, 1}), 12);
}

TEST(SetSpeedup, OfAVersionThatIsNotServedIsIgnored) {
  ServerMetrics metrics("1");
  metrics.SetSpeedup("m", "1", 16, 1, 10);
  metrics.Register(kLabels, {}, {});
  metrics.SetSpeedup("m", "2", 16, 1, 10);
  EXPECT_TRUE(metrics.TakeSnapshot().speedups.empty());
}

// Rows and threads come from callers: they must not create series for ever.
TEST(SetSpeedup, KeepsAtMost256Series) {
  ServerMetrics metrics("1");
  metrics.Register(kLabels, {}, {});
  for (int64_t rows = 1; rows <= 1000; ++rows) {
    metrics.SetSpeedup("m", "1", rows, 1, static_cast<double>(rows));
  }
  const auto speedups = metrics.TakeSnapshot().speedups;
  EXPECT_EQ(speedups.size(), 256u);
  EXPECT_EQ(speedups.at({"m", "1", 1000, 1}), 1000);
}

TEST(SetSpeedup, OfASettingThatIsThereTakesNoOthersPlace) {
  ServerMetrics metrics("1");
  metrics.Register(kLabels, {}, {});
  for (int64_t rows = 1; rows <= 256; ++rows) {
    metrics.SetSpeedup("m", "1", rows, 1, 1);
  }
  for (int i = 0; i < 10; ++i) metrics.SetSpeedup("m", "1", 256, 1, 2);
  const auto speedups = metrics.TakeSnapshot().speedups;
  EXPECT_EQ(speedups.size(), 256u);
  EXPECT_EQ(speedups.count({"m", "1", 1, 1}), 1u);
  EXPECT_EQ(speedups.at({"m", "1", 256, 1}), 2);
}

}  // namespace
}  // namespace fff::metrics
