#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/serving/repository/model_repository.h"
#include "tests/unit/serving/temp_repository.h"

// What goes on, and what does not, while a model is being loaded. The loader
// reads a model named "slow" when the test lets it.
namespace fff::serving {
namespace {

using ::testing::HasSubstr;

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds kSettle(250);
constexpr absl::Duration kEver = absl::InfiniteDuration();

class ModelRepositoryLoadsTest : public ::testing::Test {
 protected:
  void Start() {
    RepositoryOptions options;
    options.path = disk_.path();
    options.settle_time = kSettle;
    options.build = [this](const VersionToLoad& version,
                           const importer::ModelConfig& config,
                           const model::BuildOptions& offered) {
      EXPECT_EQ(++building_, 1) << "one at a time";
      if (version.model_name == "slow") {
        offered.progress->Begin("reading", 2000);
        EXPECT_TRUE(offered.progress->Advance(500).ok());
        if (!begun_.HasBeenNotified()) begun_.Notify();
        absl::Status go = absl::OkStatus();
        while (steps_ && go.ok()) go = offered.progress->Advance(0);
        if (go.ok()) go_on_.WaitForNotification();
      }
      auto built = BuildVersion(version, config, offered);
      --building_;
      return built;
    };
    options.on_loaded = [this] { ++loads_; };
    repository_ =
        std::make_unique<ModelRepository>(options, &registry_, &metrics_);
    ASSERT_TRUE(repository_->LoadAll().ok());
    loads_ = 0;
    now_ = Clock::now();
  }

  // Serves "m" and has begun to load "slow".
  void StartAndLoadSlow() {
    disk_.AddModel("m", 1);
    Start();
    disk_.AddModel("slow", 1);
    LookTwice();
    begun_.WaitForNotification();
  }

  void Look(Clock::duration elapsed) {
    now_ += elapsed;
    repository_->Look(now_);
  }
  void LookTwice() {
    Look(std::chrono::seconds(1));
    Look(kSettle);
  }
  void Finish() {
    go_on_.Notify();
    repository_->AwaitIdle();
  }

  std::string Listed() const {
    std::vector<std::string> lines;
    for (const VersionStatus& status : registry_.List()) {
      lines.push_back(absl::StrCat(status.model_name, "/", status.version, " ",
                                   Name(status.state)));
    }
    return absl::StrJoin(lines, ", ");
  }
  // How many series "slow" has.
  int64_t Series() const {
    const auto served = metrics_.TakeSnapshot().served;
    return std::count_if(served.begin(), served.end(), [](const auto& one) {
      return one.metrics->labels.model == "slow";
    });
  }

  TempRepository disk_;
  metrics::ServerMetrics metrics_{"1"};
  ModelRegistry registry_{&metrics_};
  absl::Notification begun_;
  absl::Notification go_on_;
  std::atomic<int> building_{0};
  std::atomic<int> loads_{0};
  std::atomic<bool> steps_{false};  // "slow" asks whether it is to go on
  std::unique_ptr<ModelRepository> repository_;
  Clock::time_point now_;
};

TEST_F(ModelRepositoryLoadsTest, LooksListsAndOtherUnloadsDoNotWait) {
  StartAndLoadSlow();
  EXPECT_EQ(Listed(), "m/1 ready, slow/1 loading");
  disk_.AddModel("new", 1);
  LookTwice();
  EXPECT_EQ(Listed(), "m/1 ready, new/0 loading, slow/1 loading");
  EXPECT_EQ(repository_->Directories().size(), 7u);
  EXPECT_TRUE(repository_->Unload("m", 0, absl::Seconds(60)).ok());
  EXPECT_EQ(Listed(), "m/1 unloaded, new/0 loading, slow/1 loading");
  fs::remove_all(disk_ / "m");
  LookTwice();
  EXPECT_EQ(Listed(), "new/0 loading, slow/1 loading") << "seen meanwhile";
  EXPECT_EQ(loads_, 0);
  Finish();
  EXPECT_EQ(Listed(), "new/1 ready, slow/1 ready");
  EXPECT_EQ(loads_, 2) << "each asks for another look";
}

TEST_F(ModelRepositoryLoadsTest, UnloadOfTheLoadingModelThrowsTheLoadAway) {
  StartAndLoadSlow();
  const absl::Status late =
      repository_->Unload("slow", 0, absl::Milliseconds(1));
  EXPECT_EQ(late.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(late.message()), HasSubstr("is being loaded"));
  EXPECT_EQ(Listed(), "m/1 ready, slow/1 unloaded") << "at once";
  absl::Status waited = absl::UnknownError("");
  std::thread caller([&] { waited = repository_->Unload("slow", 0, kEver); });
  Finish();
  caller.join();
  EXPECT_TRUE(waited.ok()) << waited;
  EXPECT_EQ(Listed(), "m/1 ready, slow/1 unloaded");
  EXPECT_EQ(Series(), 0);
  EXPECT_TRUE(repository_->Load("slow", 0).ok());
  EXPECT_EQ(Listed(), "m/1 ready, slow/1 ready");
}

TEST_F(ModelRepositoryLoadsTest, AStatusSaysHowFarTheLoadIs) {
  StartAndLoadSlow();
  const std::vector<VersionStatus> slow = registry_.ListModel("slow");
  ASSERT_EQ(slow.size(), 1u);
  EXPECT_EQ(ReasonOf(slow[0]), "reading, 0.50 of 2.00 KB");
  EXPECT_EQ(metrics_.TakeSnapshot().loads.at({"slow", "1"}).done, 500);
  Finish();
  EXPECT_EQ(ReasonOf(registry_.ListModel("slow")[0]), "");
  EXPECT_TRUE(metrics_.TakeSnapshot().loads.empty());
}

TEST_F(ModelRepositoryLoadsTest, AnUnloadEndsTheLoadAtItsNextStep) {
  steps_ = true;
  StartAndLoadSlow();
  EXPECT_TRUE(repository_->Unload("slow", 0, kEver).ok());
  EXPECT_EQ(Listed(), "m/1 ready, slow/1 unloaded");
  EXPECT_EQ(metrics_.TakeSnapshot().load_failures["slow"], 0u);
  steps_ = false;
  go_on_.Notify();
  EXPECT_TRUE(repository_->Load("slow", 0).ok());
  EXPECT_EQ(Listed(), "m/1 ready, slow/1 ready");
}

TEST_F(ModelRepositoryLoadsTest, FilesThatVanishEndTheLoadOfThem) {
  steps_ = true;
  StartAndLoadSlow();
  fs::rename(disk_ / "slow", disk_.path() + ".away");
  LookTwice();
  repository_->AwaitIdle();
  LookTwice();
  EXPECT_EQ(Listed(), "m/1 ready");
  fs::remove_all(disk_.path() + ".away");
}

TEST_F(ModelRepositoryLoadsTest, AStopEndsTheLoadAtItsNextStep) {
  steps_ = true;
  StartAndLoadSlow();
  EXPECT_TRUE(repository_->StopWithin(kEver));
  EXPECT_EQ(Listed(), "m/1 ready, slow/1 loading");
}

TEST_F(ModelRepositoryLoadsTest, AStopDoesNotWaitForALongStep) {
  StartAndLoadSlow();
  EXPECT_FALSE(repository_->StopWithin(absl::ZeroDuration()));
  go_on_.Notify();
  EXPECT_TRUE(repository_->StopWithin(kEver));
}

TEST_F(ModelRepositoryLoadsTest, FilesThatVanishWhileTheyAreReadAreNotServed) {
  StartAndLoadSlow();
  fs::rename(disk_ / "slow", disk_.path() + ".away");
  Look(std::chrono::seconds(1));
  EXPECT_EQ(Listed(), "m/1 ready, slow/0 loading");
  fs::rename(disk_.path() + ".away", disk_ / "slow");  // for the loader alone
  Finish();
  EXPECT_EQ(Series(), 0);
  EXPECT_EQ(Listed(), "m/1 ready, slow/0 loading");
  LookTwice();
  repository_->AwaitIdle();
  EXPECT_EQ(Listed(), "m/1 ready, slow/1 ready") << "it is there again";
}

TEST_F(ModelRepositoryLoadsTest, AModelThatIsForgottenMeanwhileStaysSo) {
  StartAndLoadSlow();
  fs::remove_all(disk_ / "slow");
  LookTwice();
  EXPECT_EQ(Listed(), "m/1 ready");
  Finish();
  EXPECT_EQ(Listed(), "m/1 ready");
  EXPECT_EQ(metrics_.TakeSnapshot().load_failures.count("slow"), 0u);
}

TEST_F(ModelRepositoryLoadsTest, FilesReplacedMeanwhileAreLoadedInTheEnd) {
  StartAndLoadSlow();
  fs::remove_all(disk_ / "slow");
  disk_.AddModel("slow", 1, "fastfeedforward-mnist-shape");
  Look(std::chrono::seconds(1));
  Finish();
  LookTwice();
  repository_->AwaitIdle();
  const auto found = registry_.Find("slow", 0);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ((*found)->model().input().width(), 784);
  const int loads = loads_;
  LookTwice();
  repository_->AwaitIdle();
  EXPECT_EQ(loads_, loads) << "nothing is left to do";
}

TEST_F(ModelRepositoryLoadsTest, LoadCallsTakeTurnsAndMeetOneLoad) {
  StartAndLoadSlow();
  disk_.AddModel("a", 1);
  std::vector<std::thread> callers;
  for (const char* model : {"slow", "slow", "a", "a"}) {
    callers.emplace_back([this, model] {
      EXPECT_TRUE(repository_->Load(model, 0).ok()) << model;
    });
  }
  go_on_.Notify();
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(Listed(), "a/1 ready, m/1 ready, slow/1 ready");
}

// What a look finds while a load call waits for its turn must not take the
// files away from it.
TEST_F(ModelRepositoryLoadsTest, ALoadCallTakesTheFilesAsItFoundThem) {
  StartAndLoadSlow();
  disk_.AddModel("a", 1);
  absl::Status loaded;
  std::thread caller([&] { loaded = repository_->Load("a", 0); });
  while (registry_.ListModel("a").empty()) std::this_thread::yield();
  now_ += std::chrono::seconds(1);
  const std::string file = (disk_ / "a/1/model.safetensors").string();
  repository_->Look(now_, {file});
  go_on_.Notify();
  caller.join();
  EXPECT_TRUE(loaded.ok()) << loaded;
  EXPECT_EQ(Listed(), "a/1 ready, m/1 ready, slow/1 ready");
}

TEST_F(ModelRepositoryLoadsTest, CloseEndsTheCallsThatWaitForALoad) {
  StartAndLoadSlow();
  absl::Status loaded;
  absl::Status unloaded;
  std::thread load([&] { loaded = repository_->Load("slow", 0); });
  std::thread unload([&] { unloaded = repository_->Unload("slow", 1, kEver); });
  repository_->Close();
  load.join();  // long before the load has ended
  unload.join();
  EXPECT_TRUE(absl::IsUnavailable(loaded)) << loaded;
  EXPECT_TRUE(absl::IsUnavailable(unloaded)) << unloaded;
  std::thread stop([this] { repository_->Stop(); });
  go_on_.Notify();
  stop.join();
  EXPECT_EQ(building_, 0) << "the load that was under way has ended";
  EXPECT_EQ(repository_->Load("m", 0).code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace fff::serving
