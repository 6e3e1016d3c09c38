#include "server/serving/repository/repository_watcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "absl/strings/str_cat.h"
#include "tests/unit/serving/temp_repository.h"

// A repository that changes under the thread that follows it.
namespace fff::serving {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds kNever(3'600'000);

class RepositoryWatcherTest : public ::testing::Test {
 protected:
  void TearDown() override {
    if (watcher_ != nullptr) watcher_->Stop();
  }

  // Serves version 1 of "m" and follows the disk.
  void Start(bool use_inotify, std::chrono::milliseconds poll_interval) {
    disk_.AddModel("m", 1);
    RepositoryOptions options;
    options.path = disk_.path();
    options.settle_time = std::chrono::milliseconds(1);
    repository_ =
        std::make_unique<ModelRepository>(options, &registry_, &metrics_);
    ASSERT_TRUE(repository_->LoadAll().ok());
    WatchOptions watch;
    watch.poll_interval = poll_interval;
    watch.gather_time = std::chrono::milliseconds(1);
    watch.use_inotify = use_inotify;
    watcher_ = std::make_unique<RepositoryWatcher>(watch, repository_.get());
    watcher_->Start();
  }
  void AwaitVersion(int64_t version) {
    while (true) {
      const auto found = registry_.Find("m", 0);
      if (found.ok() && (*found)->parts().version == version) return;
      std::this_thread::yield();
    }
  }

  TempRepository disk_;
  metrics::ServerMetrics metrics_{"1"};
  ModelRegistry registry_{&metrics_};
  std::unique_ptr<ModelRepository> repository_;
  std::unique_ptr<RepositoryWatcher> watcher_;
};

TEST_F(RepositoryWatcherTest, FollowsTheDiskByEventsAlone) {
  Start(/*use_inotify=*/true, kNever);
  disk_.AddModel("m", 2);
  AwaitVersion(2);
  disk_.AddModel("m", 3);
  AwaitVersion(3);
  fs::remove_all(disk_ / "m/3");
  AwaitVersion(2);
}

TEST_F(RepositoryWatcherTest, LooksByItselfWhereNothingIsTold) {
  Start(/*use_inotify=*/false, std::chrono::milliseconds(5));
  disk_.AddModel("m", 2);
  AwaitVersion(2);
}

TEST_F(RepositoryWatcherTest, AFileThatIsOpenedFirstAndFilledLaterIsServed) {
  Start(/*use_inotify=*/true, std::chrono::milliseconds(5));
  disk_.AddModel("other", 1);
  std::ifstream in((disk_ / "other/1/model.safetensors").string(),
                   std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  disk_.AddDirectory("m/2");
  std::ofstream out((disk_ / "m/2/model.safetensors").string(),
                    std::ios::binary);
  // All there, and nobody knows it: the writer may not have finished.
  while (metrics_.TakeSnapshot().load_failures.at("m") == 0 &&
         registry_.ListModel("m").size() < 2) {
    std::this_thread::yield();
  }
  out << bytes << std::flush;
  out.close();
  AwaitVersion(2);
}

TEST_F(RepositoryWatcherTest, StopsAtOnceAndTwice) {
  Start(/*use_inotify=*/true, kNever);
  watcher_->Stop();
  watcher_->Stop();
}

// Requests, lists and calls from several threads while versions come and go.
TEST_F(RepositoryWatcherTest, AnswersFromOneWholeVersionWhileVersionsChange) {
  Start(/*use_inotify=*/true, std::chrono::milliseconds(5));
  std::atomic<bool> done{false};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!done.load()) {
        const auto found = registry_.Find("m", 0);
        ASSERT_TRUE(found.ok()) << found.status();
        const bool odd = (*found)->parts().version % 2 == 1;
        ASSERT_EQ((*found)->model().input().width(), odd ? 128 : 784);
        ASSERT_TRUE(registry_.Ready());
        registry_.List();
        metrics_.TakeSnapshot();
      }
    });
  }
  for (int version = 2; version <= 9; ++version) {
    disk_.AddModel(
        "m", version,
        version % 2 == 1 ? "ultrafastbert-1x6" : "fastfeedforward-mnist-shape");
    const absl::Status loaded = repository_->Load("m", 0);
    EXPECT_TRUE(loaded.ok()) << loaded;
    fs::remove_all(disk_ / absl::StrCat("m/", version - 1));
  }
  done.store(true);
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ((*registry_.Find("m", 0))->parts().version, 9);
}

}  // namespace
}  // namespace fff::serving
