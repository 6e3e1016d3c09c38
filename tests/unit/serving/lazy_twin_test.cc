#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "server/serving/batching/retry_after.h"
#include "server/serving/repository/model_repository.h"
#include "tests/unit/serving/temp_repository.h"

// Models whose config says that they have no dense twin, or one that is built
// when somebody asks for it.
namespace fff::serving {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LazyTwinTest : public ::testing::Test {
 protected:
  void Start(const std::string& config, const std::string& vector) {
    repository_.AddModel("m", 1, vector);
    repository_.AddFile("m/config.json", config);
    RepositoryOptions options;
    options.path = repository_.path();
    options.settle_time = std::chrono::milliseconds(0);
    options.build_twin = [this](const VersionToLoad& version,
                                const importer::ModelConfig& model_config,
                                const model::BuildOptions& offered,
                                const Servable& fff,
                                const std::string& identity) {
      ++twins_;
      if (blocked_ != nullptr) {
        building_.Notify();
        blocked_->WaitForNotification();
      }
      return BuildTwin(version, model_config, offered, fff, identity);
    };
    models_ = std::make_unique<ModelRepository>(options, &registry_, &metrics_);
    ASSERT_TRUE(models_->LoadAll().ok());
  }
  void Start(const std::string& config) { Start(config, "ultrafastbert-1x6"); }

  absl::Status Find(const std::string& name) const {
    return registry_.Find(name, 0).status();
  }
  // Of the twin: "state: reason".
  std::string Listed() const {
    const auto twin = TwinOf(registry_.ListModel("m").at(0));
    return twin.has_value()
               ? absl::StrCat(Name(twin->state), ": ", twin->reason)
               : "none";
  }
  static std::vector<float> Run(const Servable& servable) {
    std::vector<float> x(128);
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] = static_cast<float>(i % 7) - 3;
    }
    std::vector<float> y(128);
    engine::ExecutionContext context(1);
    servable.model().Run(
        engine::RowsBatch({x.data(), 1, 128}, {y.data(), 1, 128}), context);
    return y;
  }

  TempRepository repository_;
  metrics::ServerMetrics metrics_{"1"};
  ModelRegistry registry_{&metrics_};
  absl::Notification building_;
  absl::Notification* blocked_ = nullptr;
  std::atomic<int> twins_{0};
  std::unique_ptr<ModelRepository> models_;
};

TEST_F(LazyTwinTest, AModelWithoutTwinAnswersAlone) {
  Start(R"({"dense": "off"})");
  EXPECT_TRUE(registry_.Ready());
  EXPECT_TRUE(Find("m").ok());
  const absl::Status status = Find("m:dense");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("\"dense\": \"off\""));
  EXPECT_EQ(Listed(), "none");
  EXPECT_TRUE(models_->AwaitTwin("m", 1, absl::InfiniteFuture()).ok());
  EXPECT_EQ(twins_.load(), 0);
  for (const auto& served : metrics_.TakeSnapshot().served) {
    EXPECT_NE(served.metrics->labels.implementation, "dense");
  }
}

TEST_F(LazyTwinTest, IsBuiltWhenItIsAskedForAndNotBefore) {
  Start(R"({"dense": "lazy"})");
  EXPECT_EQ(Listed(), "unloaded: built when it is asked for");
  EXPECT_EQ(twins_.load(), 0);
  const absl::Status status = Find("m:dense");
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(RetryAfter(status).has_value());
  models_->AwaitIdle();
  EXPECT_TRUE(Find("m:dense").ok());
  EXPECT_EQ(Listed(), "ready: ");
  EXPECT_TRUE(Find("m:dense").ok());
  EXPECT_EQ(twins_.load(), 1);
}

TEST_F(LazyTwinTest, AnswersAsTheOneThatIsLoadedAtOnce) {
  for (const std::string precision : {"fp32", "bf16", "int8"}) {
    SCOPED_TRACE(precision);
    std::vector<std::vector<float>> answers;
    for (const std::string dense : {"on", "lazy"}) {
      models_.reset();
      std::filesystem::remove_all(repository_ / "m");
      Start(absl::StrCat(R"({"dense": ")", dense, R"(", "precision": ")",
                         precision, R"("})"));
      ASSERT_TRUE(models_->AwaitTwin("m", 1, absl::InfiniteFuture()).ok());
      const auto twin = registry_.Find("m:dense", 0);
      ASSERT_TRUE(twin.ok()) << twin.status();
      answers.push_back(Run(**twin));
      EXPECT_THAT((*twin)->parts().dense_description, HasSubstr("127 nodes"));
    }
    EXPECT_EQ(answers[0], answers[1]);
  }
}

TEST_F(LazyTwinTest, ManyWhoAskBuildOne) {
  absl::Notification go_on;
  blocked_ = &go_on;
  Start(R"({"dense": "lazy"})");
  Find("m:dense").IgnoreError();
  building_.WaitForNotification();
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(Find("m:dense").code(), absl::StatusCode::kUnavailable);
    EXPECT_TRUE(Find("m").ok());
  }
  go_on.Notify();
  models_->AwaitIdle();
  EXPECT_TRUE(Find("m:dense").ok());
  EXPECT_EQ(twins_.load(), 1);
}

TEST_F(LazyTwinTest, OfAModelThatIsUnloadedMeanwhileIsThrownAway) {
  absl::Notification go_on;
  blocked_ = &go_on;
  Start(R"({"dense": "lazy"})");
  Find("m:dense").IgnoreError();
  building_.WaitForNotification();
  // It waits for the loader, as for a load that is under way.
  EXPECT_EQ(models_->Unload("m", 0, absl::ZeroDuration()).code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(Find("m").ok());
  go_on.Notify();
  models_->AwaitIdle();
  EXPECT_FALSE(Find("m:dense").ok());
  EXPECT_TRUE(models_->Unload("m", 0, absl::Minutes(1)).ok())
      << "nothing holds its memory";
}

TEST_F(LazyTwinTest, ThatCannotBeBuiltSaysWhyUntilTheVersionIsLoadedAgain) {
  Start(R"({"dense": "lazy"})");
  repository_.AddFile("m/1/dense.safetensors", "no checkpoint");
  ASSERT_TRUE(models_->AwaitTwin("m", 1, absl::InfiniteFuture()).ok());
  EXPECT_TRUE(Find("m").ok());
  const absl::Status status = Find("m:dense");
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("dense.safetensors"));
  EXPECT_THAT(Listed(), HasSubstr("failed: "));
  ASSERT_TRUE(models_->AwaitTwin("m", 1, absl::InfiniteFuture()).ok());
  EXPECT_EQ(twins_.load(), 1) << "the same files are not tried again";
  std::filesystem::remove(repository_ / "m/1/dense.safetensors");
  ASSERT_TRUE(models_->Load("m", 0).ok());
  ASSERT_TRUE(models_->AwaitTwin("m", 1, absl::InfiniteFuture()).ok());
  EXPECT_TRUE(Find("m:dense").ok());
}

TEST_F(LazyTwinTest, IsNotBuiltAnewByALook) {
  Start(R"({"dense": "lazy"})");
  ASSERT_TRUE(models_->AwaitTwin("m", 1, absl::InfiniteFuture()).ok());
  const auto before = registry_.Find("m:dense", 0);
  models_->Look(Clock::now());
  models_->AwaitIdle();
  EXPECT_EQ(*registry_.Find("m:dense", 0), *before);
}

// A twin made now of what config.json says now would be another model's.
TEST_F(LazyTwinTest, OfFilesThatWereReplacedWaitsForThoseThatCome) {
  Start(R"({"dense": "lazy"})");
  repository_.AddFile("m/config.json", R"({"dense": "lazy", "layers": [{}]})");
  models_->Look(Clock::now());
  models_->Look(Clock::now());
  models_->AwaitIdle();
  EXPECT_TRUE(Find("m").ok()) << "the older files are still served";
  EXPECT_EQ(Find("m:dense").code(), absl::StatusCode::kUnavailable);
  models_->AwaitIdle();
  EXPECT_EQ(twins_.load(), 0);
  repository_.AddFile("m/config.json", R"({"dense": "lazy"})");
  ASSERT_TRUE(models_->Load("m", 0).ok());
  ASSERT_TRUE(models_->AwaitTwin("m", 1, absl::InfiniteFuture()).ok());
  EXPECT_TRUE(Find("m:dense").ok());
}

TEST_F(LazyTwinTest, OfAnUnknownModelIsNothing) {
  Start(R"({"dense": "lazy"})");
  EXPECT_TRUE(models_->AwaitTwin("n", 1, absl::InfiniteFuture()).ok());
  EXPECT_TRUE(models_->AwaitTwin("m", 2, absl::InfiniteFuture()).ok());
  EXPECT_EQ(twins_.load(), 0);
}

}  // namespace
}  // namespace fff::serving
