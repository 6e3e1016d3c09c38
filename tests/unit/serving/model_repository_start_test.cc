#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "server/engine/execution_context.h"
#include "server/serving/repository/model_repository.h"
#include "tests/unit/serving/temp_repository.h"

namespace fff::serving {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kAllVersions[] = R"({"versions": {"all": true}})";

class ModelRepositoryStartTest : public ::testing::Test {
 protected:
  absl::Status Load() {
    RepositoryOptions options;
    options.path = repository_.path();
    loader_ = std::make_unique<ModelRepository>(options, &registry_, &metrics_);
    return loader_->LoadAll();
  }

  // "name/version state [default]" for all versions.
  std::vector<std::string> Listed() const {
    std::vector<std::string> lines;
    for (const VersionStatus& status : registry_.List()) {
      lines.push_back(absl::StrCat(status.model_name, "/", status.version, " ",
                                   Name(status.state),
                                   status.is_default ? " default" : ""));
    }
    return lines;
  }

  // "code: message" of a Find that fails, "name version" of one that does not.
  std::string Found(absl::string_view name, int64_t version = 0) const {
    const auto found = registry_.Find(name, version);
    return found.ok() ? (*found)->Describe() : found.status().ToString();
  }

  TempRepository repository_;
  metrics::ServerMetrics metrics_{"1"};
  ModelRegistry registry_{&metrics_};
  std::unique_ptr<ModelRepository> loader_;
};

TEST_F(ModelRepositoryStartTest, IsNotReadyBeforeARepositoryIsLoaded) {
  EXPECT_FALSE(registry_.Ready());
  EXPECT_THAT(registry_.List(), IsEmpty());
  EXPECT_EQ(Found("m"),
            "UNAVAILABLE: model 'm' is not known yet: the server is starting; "
            "retry later");
}

TEST_F(ModelRepositoryStartTest, ServesAModelAndItsDenseTwin) {
  repository_.AddModel("m", 1);
  ASSERT_TRUE(Load().ok());
  EXPECT_TRUE(registry_.Ready());
  EXPECT_THAT(Listed(), ElementsAre("m/1 ready default"));
  EXPECT_EQ(Found("m"), "model 'm' version 1");
  EXPECT_EQ(Found("m", 1), "model 'm' version 1");
  EXPECT_EQ(Found("m:dense"), "model 'm:dense' version 1");
  EXPECT_EQ(Found("m:dense", 1), "model 'm:dense' version 1");
}

TEST_F(ModelRepositoryStartTest, TellsWhatItLoaded) {
  repository_.AddModel("m", 1);
  ASSERT_TRUE(Load().ok());
  const VersionStatus status = registry_.ListModel("m").at(0);
  EXPECT_EQ(status.reason, "");
  const Servable::Parts& fff = status.fff->parts();
  EXPECT_EQ(fff.implementation, Implementation::kFff);
  EXPECT_EQ(fff.checkpoint_file, "model.safetensors");
  EXPECT_EQ(fff.device, "cpu");
  EXPECT_GT(fff.load_seconds, 0);
  EXPECT_FALSE(fff.dense_is_trained);
  EXPECT_NE(fff.dense_description, "");
  EXPECT_EQ(fff.model->input().width(), 128);
  EXPECT_EQ(fff.model->output().width(), 128);
  EXPECT_EQ(fff.model->layers()[0].routing.trees, 1);
  const Servable::Parts& dense = status.dense->parts();
  EXPECT_EQ(dense.implementation, Implementation::kDense);
  EXPECT_EQ(dense.dense_description, fff.dense_description);
  EXPECT_EQ(dense.model->input().width(), 128);
  for (const auto& layer : dense.model->layers()) {
    EXPECT_EQ(layer.routing.trees, 0);
  }
}

TEST_F(ModelRepositoryStartTest, BothImplementationsAnswer) {
  repository_.AddModel("m", 1);
  ASSERT_TRUE(Load().ok());
  for (const char* name : {"m", "m:dense"}) {
    const auto servable = *registry_.Find(name, 0);
    std::vector<float> x(128, 0.5f);
    std::vector<float> y(128, -1e30f);
    engine::ExecutionContext context(1);
    servable->model().Run(
        engine::RowsBatch({x.data(), 1, 128}, {y.data(), 1, 128}), context);
    for (const float value : y) EXPECT_GT(value, -1e30f);
  }
}

TEST_F(ModelRepositoryStartTest, TakesBatchingFromTheConfig) {
  repository_.AddModel("m", 1);
  repository_.AddFile("m/config.json", R"({"batching": {
      "max_batch_rows": 7, "max_queue_delay_us": 5, "max_queue_rows": 99}})");
  ASSERT_TRUE(Load().ok());
  const auto servable = *registry_.Find("m", 0);
  EXPECT_EQ(servable->parts().batching.max_batch_rows, 7);
  EXPECT_EQ(servable->parts().batching.max_queue_delay_us, 5);
  EXPECT_EQ(servable->parts().batching.max_queue_rows, 99);
}

TEST_F(ModelRepositoryStartTest, KeepsTheMetricsOfAModelAndItsTwinApart) {
  repository_.AddModel("m", 1);
  ASSERT_TRUE(Load().ok());
  const VersionStatus status = registry_.ListModel("m").at(0);
  EXPECT_NE(&status.fff->metrics(), &status.dense->metrics());
}

TEST_F(ModelRepositoryStartTest, NamesWhatThereIsWhenAModelIsUnknown) {
  repository_.AddModel("alpha", 1);
  repository_.AddModel("beta", 1);
  ASSERT_TRUE(Load().ok());
  EXPECT_EQ(Found("gamma"),
            "NOT_FOUND: model 'gamma' is not in the repository; it has: "
            "'alpha', 'beta'");
  EXPECT_EQ(Found("gamma:dense"),
            "NOT_FOUND: model 'gamma:dense' is not in the repository; it has: "
            "'alpha', 'beta'");
  EXPECT_EQ(Found(""),
            "NOT_FOUND: model '' is not in the repository; it has: 'alpha', "
            "'beta'");
  EXPECT_EQ(Found("alpha:sparse").substr(0, 9), "NOT_FOUND");
  EXPECT_EQ(Found("ALPHA").substr(0, 9), "NOT_FOUND");
  EXPECT_EQ(Found("alpha:dense:dense").substr(0, 9), "NOT_FOUND");
}

TEST_F(ModelRepositoryStartTest, NamesNoMoreThanAFewModels) {
  for (int i = 0; i < 12; ++i) {
    repository_.AddFile(absl::StrCat("m", 10 + i, "/config.json"), "{}");
  }
  ASSERT_TRUE(Load().ok());
  EXPECT_EQ(Found("x"),
            "NOT_FOUND: model 'x' is not in the repository; it has: 'm10', "
            "'m11', 'm12', 'm13', 'm14', 'm15', 'm16', 'm17', ... (12 in all)");
}

TEST_F(ModelRepositoryStartTest, ShowsAnUnknownNamePrintablyAndCut) {
  ASSERT_TRUE(Load().ok());
  EXPECT_THAT(Found("a\nb"), HasSubstr("model 'a\\x0ab' is not"));
  EXPECT_LT(Found(std::string(100000, 'x')).size(), 400u);
}

TEST_F(ModelRepositoryStartTest, ServesTheHighestVersionAlone) {
  repository_.AddModel("m", 1);
  repository_.AddModel("m", 2);
  ASSERT_TRUE(Load().ok());
  EXPECT_THAT(Listed(), ElementsAre("m/2 ready default"));
  EXPECT_EQ(Found("m"), "model 'm' version 2");
  EXPECT_EQ(Found("m", 1),
            "NOT_FOUND: model 'm' has no version 1; it has: '2'");
}

TEST_F(ModelRepositoryStartTest, ServesAllVersionsWhenAsked) {
  repository_.AddModel("m", 1);
  repository_.AddModel("m", 10);
  repository_.AddModel("m", 2);
  repository_.AddFile("m/config.json", kAllVersions);
  ASSERT_TRUE(Load().ok());
  EXPECT_THAT(Listed(),
              ElementsAre("m/1 ready", "m/2 ready", "m/10 ready default"));
  EXPECT_EQ(Found("m"), "model 'm' version 10");
  EXPECT_EQ(Found("m:dense", 2), "model 'm:dense' version 2");
  EXPECT_EQ(Found("m", 3),
            "NOT_FOUND: model 'm' has no version 3; it has: '1', '2', '10'");
  EXPECT_EQ(Found("m:dense", -1),
            "NOT_FOUND: model 'm' has no version -1; it has: '1', '2', '10'");
}

TEST_F(ModelRepositoryStartTest, ABadNewVersionLeavesTheOldOneTheDefault) {
  repository_.AddModel("m", 1);
  repository_.AddFile("m/2/model.safetensors", "this is no checkpoint");
  repository_.AddFile("m/config.json", kAllVersions);
  ASSERT_TRUE(Load().ok());
  EXPECT_TRUE(registry_.Ready());
  EXPECT_THAT(Listed(), ElementsAre("m/1 ready default", "m/2 failed"));
  EXPECT_EQ(Found("m"), "model 'm' version 1");
  EXPECT_THAT(Found("m", 2),
              AllOf(HasSubstr("UNAVAILABLE: model 'm' could not be loaded: "),
                    HasSubstr("m/2/model.safetensors")));
  EXPECT_THAT(Found("m:dense", 2), HasSubstr("UNAVAILABLE"));
}

TEST_F(ModelRepositoryStartTest, AModelThatCannotBeLoadedTakesNoOtherDown) {
  repository_.AddFile("broken/1/model.safetensors", "garbage");
  repository_.AddModel("good", 1);
  ASSERT_TRUE(Load().ok());
  EXPECT_THAT(Listed(),
              ElementsAre("broken/1 failed default", "good/1 ready default"));
  EXPECT_EQ(Found("good"), "model 'good' version 1");
  EXPECT_THAT(Found("broken"),
              HasSubstr("UNAVAILABLE: model 'broken' could not be loaded: "));
  EXPECT_FALSE(registry_.Ready())
      << "readiness means every configured model's default version";
}

TEST_F(ModelRepositoryStartTest, ANameThatCannotBeServedTakesNoOtherDown) {
  repository_.AddModel("a:dense", 1);
  repository_.AddModel("good", 1);
  ASSERT_TRUE(Load().ok());
  EXPECT_THAT(Listed(),
              ElementsAre("a:dense/0 failed default", "good/1 ready default"));
  EXPECT_EQ(Found("good"), "model 'good' version 1");
  EXPECT_TRUE(registry_.Ready()) << "nobody can ask for the other";
  EXPECT_THAT(registry_.ListModel("a:dense").at(0).reason,
              HasSubstr("cannot be a model name"));
  EXPECT_EQ(metrics_.TakeSnapshot().load_failures.at("a:dense"), 1u);
}

TEST_F(ModelRepositoryStartTest, ABrokenConfigIsTheModelsFailure) {
  repository_.AddModel("m", 1);
  repository_.AddFile("m/config.json", R"({"layerz": []})");
  ASSERT_TRUE(Load().ok());
  EXPECT_THAT(Listed(), ElementsAre("m/0 failed default"));
  EXPECT_THAT(Found("m"),
              AllOf(HasSubstr("UNAVAILABLE: model 'm' could not be loaded: "),
                    HasSubstr("m/config.json"), HasSubstr("layerz")));
  EXPECT_FALSE(registry_.Ready());
}

TEST_F(ModelRepositoryStartTest, AModelWithoutAVersionIsAFailure) {
  repository_.AddFile("m/config.json", "{}");
  ASSERT_TRUE(Load().ok());
  EXPECT_EQ(Found("m"),
            absl::StrCat("UNAVAILABLE: model 'm' could not be loaded: ",
                         repository_.path(),
                         "/m holds no version: wanted a directory named 1, 2, "
                         "..."));
  EXPECT_FALSE(registry_.Ready());
}

TEST_F(ModelRepositoryStartTest, AModelWhoseVersionsDoNotFitSaysSo) {
  repository_.AddFile("m/config.json", "{}");
  repository_.AddDirectory("m/v1");
  ASSERT_TRUE(Load().ok());
  EXPECT_THAT(Found("m"), HasSubstr("; got the folder 'v1'"));
  EXPECT_THAT(Listed(), ElementsAre("m/0 failed default"));
  EXPECT_THAT(std::string(loader_->Load("m", 0).message()),
              HasSubstr("got the folder 'v1'"));
}

TEST_F(ModelRepositoryStartTest, AVersionThatIsListedAndMissingIsAFailure) {
  repository_.AddModel("m", 1);
  repository_.AddFile("m/config.json", R"({"versions": {"specific": [1, 7]}})");
  ASSERT_TRUE(Load().ok());
  EXPECT_THAT(Listed(), ElementsAre("m/1 ready default", "m/7 failed"));
  EXPECT_THAT(Found("m", 7), HasSubstr("m/7"));
}

TEST_F(ModelRepositoryStartTest, AVersionWithoutACheckpointIsAFailure) {
  repository_.AddDirectory("m/1");
  ASSERT_TRUE(Load().ok());
  EXPECT_THAT(Listed(), ElementsAre("m/1 failed default"));
  EXPECT_THAT(registry_.ListModel("m").at(0).reason, HasSubstr("m/1"));
}

TEST_F(ModelRepositoryStartTest,
       SaysThatThereIsNoGpuEngineForAModelThatWantsIt) {
  repository_.AddModel("m", 1);
  repository_.AddFile("m/config.json", R"({"device": "cuda"})");
  ASSERT_TRUE(Load().ok());
  EXPECT_EQ(Found("m"),
            "UNAVAILABLE: model 'm' could not be loaded: config.json asks for "
            "device \"cuda\", but this server has no CUDA engine; allowed: "
            "\"cpu\", \"auto\"");
}

TEST_F(ModelRepositoryStartTest, AnEmptyRepositoryIsReadyAndServesNothing) {
  ASSERT_TRUE(Load().ok());
  EXPECT_TRUE(registry_.Ready());
  EXPECT_THAT(registry_.List(), IsEmpty());
}

TEST_F(ModelRepositoryStartTest, ARepositoryThatIsNotThereIsAnError) {
  RepositoryOptions options;
  options.path = "/nonexistent/models";
  ModelRepository nowhere(options, &registry_, &metrics_);
  EXPECT_EQ(nowhere.LoadAll().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(registry_.Ready());
}

TEST_F(ModelRepositoryStartTest,
       AnUnknownModelIsNotFoundOnlyAfterTheFirstPass) {
  EXPECT_EQ(registry_.Find("x", 0).status().code(),
            absl::StatusCode::kUnavailable);
  ASSERT_TRUE(Load().ok());
  EXPECT_EQ(Found("x"),
            "NOT_FOUND: model 'x' is not in the repository; it has: nothing");
}

TEST_F(ModelRepositoryStartTest, ListsTheVersionsOfOneModel) {
  repository_.AddModel("a", 1);
  repository_.AddModel("b", 3);
  ASSERT_TRUE(Load().ok());
  ASSERT_EQ(registry_.ListModel("b").size(), 1u);
  EXPECT_EQ(registry_.ListModel("b")[0].version, 3);
  EXPECT_THAT(registry_.ListModel("c"), IsEmpty());
  EXPECT_THAT(registry_.ListModel("b:dense"), IsEmpty());
}

TEST_F(ModelRepositoryStartTest, RecordsLoadsFailuresAndReadiness) {
  repository_.AddModel("good", 4);
  repository_.AddFile("bad/1/model.safetensors", "garbage");
  ASSERT_TRUE(Load().ok());
  const metrics::ServerMetrics::Snapshot snapshot = metrics_.TakeSnapshot();
  EXPECT_TRUE(snapshot.model_ready.at("good"));
  EXPECT_FALSE(snapshot.model_ready.at("bad"));
  EXPECT_EQ(snapshot.load_failures.at("good"), 0u);
  EXPECT_EQ(snapshot.load_failures.at("bad"), 1u);
  EXPECT_GT(snapshot.load_seconds.at({"good", "4"}), 0);
  EXPECT_EQ(snapshot.load_seconds.count({"bad", "1"}), 0u);
  ASSERT_EQ(snapshot.served.size(), 3u);  // unknown, fff, dense
  const metrics::ServerMetrics::Served& fff = snapshot.served[1];
  EXPECT_EQ(fff.metrics->labels.model, "good");
  EXPECT_EQ(fff.metrics->labels.version, "4");
  EXPECT_EQ(fff.metrics->labels.implementation, "fff");
  EXPECT_EQ(fff.metrics->labels.device, "cpu");
  EXPECT_EQ(fff.info.file, "model.safetensors");
  EXPECT_EQ(fff.info.dense_kind, "");
  EXPECT_GT(fff.info.weights_bytes, 127 * (128 + 128) * 4 - 1);
  EXPECT_EQ(fff.leaf_visits->size(), 1u);
  const metrics::ServerMetrics::Served& dense = snapshot.served[2];
  EXPECT_EQ(dense.metrics->labels.implementation, "dense");
  EXPECT_EQ(dense.info.dense_kind, "cost_baseline");
  EXPECT_TRUE(dense.leaf_visits->empty());
}

TEST_F(ModelRepositoryStartTest, WarmingUpIsNotRecordedAsTraffic) {
  repository_.AddModel("m", 1);
  repository_.AddFile("m/config.json", R"({"warmup_batch_rows": [1, 3, 64]})");
  ASSERT_TRUE(Load().ok());
  const metrics::ModelMetrics& metrics = (*registry_.Find("m", 0))->metrics();
  EXPECT_EQ(metrics.rows.Value(), 0u);
  EXPECT_EQ(metrics.compute_duration.Snapshot().count, 0u);
}

TEST_F(ModelRepositoryStartTest, AnswersWhileItLoads) {
  for (int i = 0; i < 6; ++i) repository_.AddModel(absl::StrCat("m", i), 1);
  std::thread loader([&] { EXPECT_TRUE(Load().ok()); });
  // A client of a server that starts is told to try again, never that there is
  // no such model.
  while (!registry_.Ready()) {
    const auto found = registry_.Find("m5", 0);
    EXPECT_TRUE(found.ok() || absl::IsUnavailable(found.status()))
        << found.status();
    registry_.List();
    std::this_thread::yield();
  }
  loader.join();
  EXPECT_EQ(Listed().size(), 6u);
  EXPECT_EQ(Found("m5"), "model 'm5' version 1");
}

}  // namespace
}  // namespace fff::serving
