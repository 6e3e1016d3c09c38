#include "server/serving/repository/directory_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "tests/unit/serving/temp_repository.h"

namespace fff::serving {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

namespace fs = std::filesystem;

// Longer than any test waits for an event that comes.
constexpr std::chrono::milliseconds kLong(60000);
constexpr std::chrono::milliseconds kNoTime(0);

class DirectoryWatchTest : public ::testing::Test {
 protected:
  DirectoryWatchTest() {
    directory_.AddDirectory("d");
    path_ = (directory_ / "d").string();
  }
  // Takes in every event that has come.
  void Drain() {
    while (watch_.Await(kNoTime)) {
    }
  }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

  TempRepository directory_;
  std::string path_;
  DirectoryWatch watch_;
};

TEST_F(DirectoryWatchTest, TellsOfAFileThatIsWritten) {
  EXPECT_TRUE(watch_.Follow({path_}));
  EXPECT_TRUE(watch_.complete());
  EXPECT_FALSE(watch_.Await(kNoTime));
  directory_.AddFile("d/file", "text");
  EXPECT_TRUE(watch_.Await(kLong));
}

TEST_F(DirectoryWatchTest, TellsOfRenamesRemovalsAndDirectories) {
  directory_.AddFile("elsewhere", "text");
  watch_.Follow({path_});
  fs::rename(directory_ / "elsewhere", File("file"));
  EXPECT_TRUE(watch_.Await(kLong));
  Drain();
  fs::remove(File("file"));
  EXPECT_TRUE(watch_.Await(kLong));
  Drain();
  fs::create_directory(File("1"));
  EXPECT_TRUE(watch_.Await(kLong));
}

TEST_F(DirectoryWatchTest, FollowSaysWhetherADirectoryIsNew) {
  EXPECT_TRUE(watch_.Follow({path_}));
  EXPECT_FALSE(watch_.Follow({path_}));
  EXPECT_TRUE(watch_.Follow({path_, directory_.path()}));
  EXPECT_FALSE(watch_.Follow({path_}));
}

TEST_F(DirectoryWatchTest, ADirectoryThatIsNotFollowedAnyMoreTellsNothing) {
  watch_.Follow({path_, directory_.path()});
  watch_.Follow({directory_.path()});
  Drain();
  directory_.AddFile("d/file", "text");
  EXPECT_FALSE(watch_.Await(kNoTime));
}

TEST_F(DirectoryWatchTest, ADirectoryThatComesBackIsNew) {
  watch_.Follow({path_});
  fs::remove_all(path_);
  Drain();
  EXPECT_FALSE(watch_.Follow({path_})) << "there is none";
  EXPECT_TRUE(watch_.complete());
  fs::create_directory(path_);
  EXPECT_TRUE(watch_.Follow({path_}));
  directory_.AddFile("d/file", "text");
  EXPECT_TRUE(watch_.Await(kLong));
}

TEST_F(DirectoryWatchTest, NamesFilesThatAreStillOpenForWriting) {
  watch_.Follow({path_});
  std::ofstream out(File("model"), std::ios::binary);
  Drain();
  EXPECT_THAT(watch_.FilesBeingWritten(), IsEmpty()) << "nothing written yet";
  out << "half" << std::flush;
  Drain();
  EXPECT_THAT(watch_.FilesBeingWritten(), ElementsAre(File("model")));
  out.close();
  Drain();
  EXPECT_THAT(watch_.FilesBeingWritten(), IsEmpty());
}

TEST_F(DirectoryWatchTest, AFileThatIsMovedOrRemovedIsNotBeingWritten) {
  watch_.Follow({path_});
  for (const bool move : {true, false}) {
    std::ofstream out(File("model"), std::ios::binary);
    out << "half" << std::flush;
    Drain();
    EXPECT_THAT(watch_.FilesBeingWritten(), ElementsAre(File("model")));
    if (move) {
      fs::rename(File("model"), directory_ / "away");
    } else {
      fs::remove(File("model"));
    }
    Drain();
    EXPECT_THAT(watch_.FilesBeingWritten(), IsEmpty());
  }
}

TEST_F(DirectoryWatchTest, WakeEndsTheWaitOfAnotherThread) {
  watch_.Follow({path_});
  std::thread waker([this] { watch_.Wake(); });
  EXPECT_TRUE(watch_.Await(kLong));
  waker.join();
  EXPECT_FALSE(watch_.Await(kNoTime)) << "one wake ends one wait";
}

TEST_F(DirectoryWatchTest, WithoutInotifyItOnlyWaits) {
  DirectoryWatch blind(/*use_inotify=*/false);
  EXPECT_FALSE(blind.complete());
  EXPECT_FALSE(blind.Follow({path_}));
  directory_.AddFile("d/file", "text");
  EXPECT_FALSE(blind.Await(kNoTime));
  EXPECT_THAT(blind.FilesBeingWritten(), IsEmpty());
  blind.Wake();
  EXPECT_TRUE(blind.Await(kLong));
}

}  // namespace
}  // namespace fff::serving
