#include "server/serving/repository/model_repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "tests/unit/serving/temp_repository.h"

// What becomes of a repository that changes under a server. The clock is the
// test's: Look(now) is what the watching thread calls.
namespace fff::serving {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds kSettleTime(250);
// 784 inputs, where AddModel's has 128.
constexpr char kOtherShape[] = "fastfeedforward-mnist-shape";
constexpr absl::Duration kNoWait = absl::ZeroDuration();

class ModelRepositoryTest : public ::testing::Test {
 protected:
  void Start(ModelControl control = ModelControl::kPoll,
             std::vector<std::string> startup_models = {}) {
    RepositoryOptions options;
    options.path = disk_.path();
    options.control = control;
    options.startup_models = std::move(startup_models);
    options.settle_time = kSettleTime;
    repository_ =
        std::make_unique<ModelRepository>(options, &registry_, &metrics_);
    const absl::Status loaded = repository_->LoadAll();
    ASSERT_TRUE(loaded.ok()) << loaded;
    now_ = Clock::now();
  }

  // One look, `elapsed` after the one before, and all that follows from it.
  void Look(Clock::duration elapsed = std::chrono::seconds(1)) {
    now_ += elapsed;
    repository_->Look(now_);
    repository_->AwaitIdle();
    next_ = repository_->Look(now_);
  }
  // A change is noticed, and taken for settled after the time that takes.
  void LookTwice() {
    Look();
    Look(kSettleTime);
  }

  // "m/2 ready default, m/3 failed".
  std::string Listed() const {
    std::vector<std::string> lines;
    for (const VersionStatus& status : registry_.List()) {
      lines.push_back(absl::StrCat(status.model_name, "/", status.version, " ",
                                   Name(status.state),
                                   status.is_default ? " default" : ""));
    }
    return absl::StrJoin(lines, ", ");
  }
  std::string Reason(const std::string& model, int64_t version) const {
    for (const VersionStatus& status : registry_.ListModel(model)) {
      if (status.version == version) return status.reason;
    }
    return "not listed";
  }
  std::shared_ptr<const Servable> Served(int64_t version = 0) const {
    auto found = registry_.Find("m", version);
    EXPECT_TRUE(found.ok()) << found.status();
    return found.ok() ? *found : nullptr;
  }
  int64_t Width() const { return Served()->model().input().width(); }
  uint64_t Failures() const {
    return metrics_.TakeSnapshot().load_failures.at("m");
  }
  // "1/fff 1/dense": the versions of m that have series.
  std::string Series() const {
    std::vector<std::string> names;
    for (const auto& served : metrics_.TakeSnapshot().served) {
      if (served.metrics->labels.model != "m") continue;
      names.push_back(absl::StrCat(served.metrics->labels.version, "/",
                                   served.metrics->labels.implementation));
    }
    return absl::StrJoin(names, " ");
  }
  std::string CheckpointPath(int64_t version) const {
    return (disk_ / absl::StrCat("m/", version, "/model.safetensors")).string();
  }
  std::string CheckpointBytes(int64_t version) const {
    std::ifstream in(CheckpointPath(version), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  TempRepository disk_;
  metrics::ServerMetrics metrics_{"1"};
  ModelRegistry registry_{&metrics_};
  std::unique_ptr<ModelRepository> repository_;
  Clock::time_point now_;
  Clock::time_point next_;
};

TEST_F(ModelRepositoryTest, ANewVersionReplacesTheOldOneOnceItHasSettled) {
  disk_.AddModel("m", 1);
  Start();
  disk_.AddModel("m", 2);
  Look();
  EXPECT_EQ(Listed(), "m/1 ready default, m/2 loading");
  EXPECT_THAT(Reason("m", 2), HasSubstr("still changing"));
  EXPECT_EQ(next_, now_ + kSettleTime) << "when it should be looked at again";
  EXPECT_TRUE(registry_.Ready()) << "loading one more never takes it away";
  Look(kSettleTime);
  EXPECT_EQ(Listed(), "m/2 ready default");
  EXPECT_EQ(next_, Clock::time_point::max());
}

TEST_F(ModelRepositoryTest, AFileThatGrowsIsNotReadBeforeItStops) {
  disk_.AddModel("m", 1);
  Start();
  disk_.AddModel("m", 2);
  const std::string whole = CheckpointBytes(2);
  for (size_t part = 1; part <= 4; ++part) {
    disk_.AddFile("m/2/model.safetensors",
                  whole.substr(0, whole.size() * part / 4));
    Look(kSettleTime);
    EXPECT_EQ(Listed(), "m/1 ready default, m/2 loading");
  }
  EXPECT_EQ(Failures(), 0u);
  Look(kSettleTime);
  EXPECT_EQ(Listed(), "m/2 ready default");
}

TEST_F(ModelRepositoryTest, AHalfWrittenVersionFailsAndHealsWhenItIsComplete) {
  disk_.AddModel("m", 1);
  Start();
  disk_.AddModel("m", 2);
  const std::string whole = CheckpointBytes(2);
  disk_.AddFile("m/2/model.safetensors", whole.substr(0, whole.size() / 2));
  LookTwice();
  EXPECT_EQ(Listed(), "m/1 ready default, m/2 failed");
  EXPECT_THAT(Reason("m", 2),
              AllOf(HasSubstr("m/2/model.safetensors"), HasSubstr("beyond")));
  EXPECT_EQ(Failures(), 1u);
  LookTwice();
  EXPECT_EQ(Failures(), 1u) << "the same files are not tried again";
  disk_.AddFile("m/2/model.safetensors", whole);
  Look();
  EXPECT_EQ(Listed(), "m/1 ready default, m/2 loading");
  Look(kSettleTime);
  EXPECT_EQ(Listed(), "m/2 ready default");
  EXPECT_EQ(Reason("m", 2), "");
}

TEST_F(ModelRepositoryTest, ReplacedFilesOfAServedVersionAreLoadedAnew) {
  disk_.AddModel("m", 1);
  Start();
  const std::weak_ptr<const Servable> before = Served();
  EXPECT_EQ(Width(), 128);
  fs::remove_all(disk_ / "m/1");
  disk_.AddModel("m", 1, kOtherShape);
  Look();
  EXPECT_EQ(Width(), 128) << "served until the new files are ready";
  Look(kSettleTime);
  EXPECT_EQ(Width(), 784);
  EXPECT_EQ(Listed(), "m/1 ready default");
  EXPECT_TRUE(before.expired());
}

TEST_F(ModelRepositoryTest, ReplacedFilesThatAreBadLeaveTheOldOnesServed) {
  disk_.AddModel("m", 1);
  Start();
  const auto before = Served();
  disk_.AddFile("m/1/model.safetensors", "rewritten in place, and garbage");
  LookTwice();
  EXPECT_EQ(Served(), before);
  EXPECT_EQ(Listed(), "m/1 ready default");
  EXPECT_THAT(Reason("m", 1), HasSubstr("still served from older files"));
  EXPECT_TRUE(registry_.Ready());
  EXPECT_EQ(Failures(), 1u);
}

TEST_F(ModelRepositoryTest, AChangedConfigIsAppliedToAllVersions) {
  disk_.AddModel("m", 1);
  Start();
  disk_.AddFile("m/config.json", R"({"batching": {"max_batch_rows": 7}})");
  LookTwice();
  EXPECT_EQ(Served()->parts().batching.max_batch_rows, 7);
}

TEST_F(ModelRepositoryTest, ABrokenConfigStopsNothingThatIsServed) {
  disk_.AddModel("m", 1);
  Start();
  const auto before = Served();
  disk_.AddFile("m/config.json", "{");
  disk_.AddModel("m", 2);
  LookTwice();
  EXPECT_EQ(Served(), before);
  EXPECT_EQ(Listed(), "m/0 failed, m/1 ready default");
  EXPECT_THAT(Reason("m", 0), HasSubstr("config.json"));
  EXPECT_TRUE(registry_.Ready());
  EXPECT_EQ(Failures(), 1u);
  Look();
  EXPECT_EQ(Failures(), 1u);
  disk_.AddFile("m/config.json", "{}");
  LookTwice();
  EXPECT_EQ(Listed(), "m/2 ready default");
}

TEST_F(ModelRepositoryTest, AVersionThatVanishedHandsOverToTheOneBefore) {
  disk_.AddModel("m", 1);
  disk_.AddModel("m", 2);
  Start();
  fs::remove_all(disk_ / "m/2");
  Look();
  EXPECT_EQ(Listed(), "m/2 ready default");
  Look(kSettleTime);
  EXPECT_EQ(Listed(), "m/1 ready default");
  EXPECT_EQ(Series(), "1/fff 1/dense");
}

TEST_F(ModelRepositoryTest, ADirectoryThatIsSwappedDoesNotUnload) {
  disk_.AddModel("m", 1);
  Start();
  const auto before = Served();
  fs::rename(disk_ / "m", disk_ / ".old");
  Look();
  EXPECT_EQ(Served(), before);
  fs::rename(disk_ / ".old", disk_ / "m");
  LookTwice();
  EXPECT_EQ(Served(), before) << "the same files: nothing to load";
}

TEST_F(ModelRepositoryTest, AModelThatVanishedIsForgotten) {
  disk_.AddModel("m", 1);
  disk_.AddModel("other", 1);
  Start();
  const std::weak_ptr<const Servable> weak = Served();
  metrics_.SetSpeedup("m", "1", 16, 1, 10);
  fs::remove_all(disk_ / "m");
  LookTwice();
  EXPECT_EQ(Listed(), "other/1 ready default");
  EXPECT_TRUE(weak.expired());
  EXPECT_TRUE(registry_.Ready());
  const auto snapshot = metrics_.TakeSnapshot();
  EXPECT_EQ(Series(), "");
  EXPECT_EQ(snapshot.model_ready.count("m"), 0u);
  EXPECT_EQ(snapshot.load_failures.count("m"), 0u);
  EXPECT_EQ(snapshot.load_seconds.count({"m", "1"}), 0u);
  EXPECT_TRUE(snapshot.speedups.empty());
}

TEST_F(ModelRepositoryTest, ARequestInFlightKeepsWhatIsUnloaded) {
  disk_.AddModel("m", 1);
  Start();
  auto held = Served();
  fs::remove_all(disk_ / "m");
  LookTwice();
  EXPECT_EQ(held->model().input().width(), 128);
  held->metrics().rows.Add(1);  // its series are gone, recording is not
}

TEST_F(ModelRepositoryTest, ANewModelIsServedAndABadOneHurtsNobody) {
  disk_.AddModel("m", 1);
  Start();
  disk_.AddModel("new", 1);
  disk_.AddFile("bad/1/model.safetensors", "garbage");
  LookTwice();
  EXPECT_EQ(Listed(),
            "bad/1 failed default, m/1 ready default, new/1 ready default");
  EXPECT_TRUE(registry_.Ready())
      << "what was never served cannot take the server away";
}

TEST_F(ModelRepositoryTest, ARepositoryThatCannotBeReadUnloadsNothing) {
  disk_.AddModel("m", 1);
  Start();
  const auto before = Served();
  fs::rename(disk_.path(), disk_.path() + "-away");
  LookTwice();
  EXPECT_EQ(Served(), before);
  fs::rename(disk_.path() + "-away", disk_.path());
  LookTwice();
  EXPECT_EQ(Served(), before);
}

TEST_F(ModelRepositoryTest, ABadVersionAtTheStartHealsWhenItIsReplaced) {
  disk_.AddFile("m/1/model.safetensors", "garbage");
  Start();
  EXPECT_FALSE(registry_.Ready());
  disk_.AddModel("m", 2);
  LookTwice();
  EXPECT_EQ(Listed(), "m/2 ready default");
  EXPECT_TRUE(registry_.Ready());
}

TEST_F(ModelRepositoryTest, LoadsOnCallWithoutWaiting) {
  disk_.AddModel("m", 1);
  Start();
  disk_.AddModel("m", 2);
  EXPECT_TRUE(repository_->Load("m", 0).ok());
  EXPECT_EQ(Listed(), "m/2 ready default");
}

TEST_F(ModelRepositoryTest, ALoadCallThatFailsSaysWhyAndKeepsWhatIsServed) {
  disk_.AddModel("m", 1);
  Start();
  disk_.AddFile("m/2/model.safetensors", "garbage");
  const absl::Status status = repository_->Load("m", 0);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("model 'm' version 2 could not be loaded: "),
                    HasSubstr("m/2/model.safetensors")));
  EXPECT_EQ(Listed(), "m/1 ready default, m/2 failed");
  EXPECT_EQ(repository_->Load("m", 0).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Failures(), 2u) << "a call tries again";
}

TEST_F(ModelRepositoryTest, LoadsOneVersionBesideThePolicys) {
  disk_.AddModel("m", 1);
  disk_.AddModel("m", 2);
  Start();
  EXPECT_EQ(Listed(), "m/2 ready default");
  EXPECT_TRUE(repository_->Load("m", 1).ok());
  EXPECT_EQ(Listed(), "m/1 ready, m/2 ready default");
  LookTwice();
  EXPECT_EQ(Listed(), "m/1 ready, m/2 ready default") << "the word lasts";
  EXPECT_TRUE(repository_->Load("m", 0).ok());
  EXPECT_EQ(Listed(), "m/2 ready default") << "back to the policy";
}

TEST_F(ModelRepositoryTest, UnloadsOneVersionAndServesTheOneBefore) {
  disk_.AddModel("m", 1);
  disk_.AddModel("m", 2);
  Start();
  EXPECT_TRUE(repository_->Unload("m", 2, absl::Seconds(60)).ok());
  EXPECT_EQ(Listed(), "m/1 ready default, m/2 unloaded");
  EXPECT_EQ(registry_.Find("m", 2).status().ToString(),
            "UNAVAILABLE: model 'm' version 2 is not loaded");
  LookTwice();
  EXPECT_EQ(Listed(), "m/1 ready default, m/2 unloaded");
}

TEST_F(ModelRepositoryTest, AnUnloadedModelStaysUnloadedUntilItIsAskedFor) {
  disk_.AddModel("m", 1);
  Start();
  const std::weak_ptr<const Servable> weak = Served();
  EXPECT_TRUE(repository_->Unload("m", 0, absl::Seconds(60)).ok());
  EXPECT_TRUE(weak.expired());
  EXPECT_EQ(Listed(), "m/1 unloaded default");
  EXPECT_EQ(Series(), "");
  EXPECT_EQ(metrics_.TakeSnapshot().model_ready.count("m"), 0u)
      << "an alert on 0 must not ring for what was asked for";
  EXPECT_TRUE(registry_.Ready()) << "the operator wanted it so";
  disk_.AddModel("m", 2);
  LookTwice();
  EXPECT_EQ(Listed(), "m/1 unloaded, m/2 unloaded default");
  EXPECT_TRUE(repository_->Unload("m", 0, kNoWait).ok()) << "twice is fine";
  EXPECT_TRUE(repository_->Load("m", 0).ok());
  EXPECT_EQ(Listed(), "m/2 ready default");
}

TEST_F(ModelRepositoryTest, UnloadWaitsForRequestsInFlight) {
  disk_.AddModel("m", 1);
  Start();
  auto held = Served();
  const absl::Status status = repository_->Unload("m", 0, kNoWait);
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(status.message()), HasSubstr("in flight"));
  EXPECT_EQ(registry_.Find("m", 0).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_TRUE(repository_->Load("m", 0).ok());
  auto again = Served();
  std::thread answer([&] {
    // Unload has taken it out of the list before it waits.
    while (registry_.Find("m", 0).ok()) std::this_thread::yield();
    again.reset();
  });
  EXPECT_TRUE(repository_->Unload("m", 0, absl::InfiniteDuration()).ok());
  answer.join();
}

TEST_F(ModelRepositoryTest, CallsForWhatIsNotThereAreNotFound) {
  disk_.AddModel("m", 1);
  Start();
  using absl::StatusCode;
  EXPECT_EQ(repository_->Load("x", 0).code(), StatusCode::kNotFound);
  EXPECT_EQ(repository_->Load("m", 2).code(), StatusCode::kNotFound);
  EXPECT_EQ(repository_->Unload("x", 0, kNoWait).code(), StatusCode::kNotFound);
  EXPECT_EQ(repository_->Unload("m", 2, kNoWait).code(), StatusCode::kNotFound);
  EXPECT_EQ(Listed(), "m/1 ready default");
}

TEST_F(ModelRepositoryTest, CallsWithNamesThatAreNoneAreInvalid) {
  disk_.AddModel("m", 1);
  Start();
  const absl::Status dense = repository_->Load("m:dense", 0);
  EXPECT_EQ(dense.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(dense.message()), HasSubstr("together"));
  EXPECT_EQ(repository_->Unload("m:dense", 0, kNoWait).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(repository_->Load("../m", 0).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(repository_->Load("m", -1).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(ModelRepositoryTest, UnderNoControlNothingChangesAfterTheStart) {
  disk_.AddModel("m", 1);
  Start(ModelControl::kNone);
  EXPECT_EQ(Listed(), "m/1 ready default");
  for (const absl::Status& status :
       {repository_->Load("m", 0), repository_->Unload("m", 0, kNoWait)}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("--model-control=none"));
  }
}

TEST_F(ModelRepositoryTest, UnderExplicitControlOnlyCallsLoad) {
  disk_.AddModel("a", 1);
  disk_.AddModel("m", 1);
  Start(ModelControl::kExplicit, {"a"});
  EXPECT_EQ(Listed(), "a/1 ready default, m/1 unloaded default");
  EXPECT_TRUE(registry_.Ready());
  EXPECT_TRUE(repository_->Load("m", 0).ok());
  disk_.AddModel("m", 2);
  disk_.AddModel("new", 1);
  fs::remove_all(disk_ / "a");
  LookTwice();
  EXPECT_EQ(Listed(),
            "a/1 ready default, m/1 ready default, m/2 loading, new/1 "
            "unloaded default");
  EXPECT_TRUE(repository_->Load("m", 0).ok());
  EXPECT_TRUE(repository_->Unload("a", 0, absl::Seconds(60)).ok());
  LookTwice();
  EXPECT_EQ(Listed(), "m/2 ready default, new/1 unloaded default");
}

TEST_F(ModelRepositoryTest, AStartupModelThatIsNotThereIsAFailure) {
  disk_.AddModel("m", 1);
  Start(ModelControl::kExplicit, {"typo"});
  EXPECT_EQ(Listed(), "m/1 unloaded default, typo/0 failed default");
  EXPECT_FALSE(registry_.Ready());
}

TEST_F(ModelRepositoryTest, CallsAreRefusedOnceItIsClosed) {
  disk_.AddModel("m", 1);
  Start();
  repository_->Close();
  EXPECT_EQ(repository_->Load("m", 0).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(repository_->Unload("m", 0, kNoWait).code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(Listed(), "m/1 ready default");
}

TEST_F(ModelRepositoryTest, AFileThatSomebodyWritesIsNotRead) {
  disk_.AddModel("m", 1);
  Start();
  disk_.AddModel("m", 2);
  const std::vector<std::string> being_written = {CheckpointPath(2)};
  for (int i = 0; i < 3; ++i) {
    now_ += std::chrono::seconds(10);
    repository_->Look(now_, being_written);
    repository_->AwaitIdle();
    EXPECT_EQ(Listed(), "m/1 ready default, m/2 loading");
  }
  Look(kSettleTime);
  EXPECT_EQ(Listed(), "m/2 ready default") << "closed, and the same since";
}

TEST_F(ModelRepositoryTest, NamesTheDirectoriesWhereChangesMatter) {
  disk_.AddModel("m", 1);
  Start();
  EXPECT_THAT(
      repository_->Directories(),
      ElementsAre(disk_.path(), disk_.path() + "/m", disk_.path() + "/m/1"));
}

TEST_F(ModelRepositoryTest, TellsWhenWhatWasUnloadedIsFree) {
  disk_.AddModel("m", 1);
  Start();
  EXPECT_THAT(repository_->TakeReleased(), IsEmpty());
  auto held = Served();
  fs::remove_all(disk_ / "m");
  LookTwice();
  const auto released = repository_->TakeReleased();
  ASSERT_EQ(released.size(), 1u);
  EXPECT_FALSE(released[0]->HasBeenNotified());
  held.reset();
  // The loader may still be dropping what it took out of service.
  EXPECT_TRUE(released[0]->WaitForNotificationWithTimeout(absl::Seconds(60)));
  EXPECT_THAT(repository_->TakeReleased(), IsEmpty());
}

}  // namespace
}  // namespace fff::serving
