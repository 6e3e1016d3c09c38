#include "server/base/line_log.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fff::base {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LineLogTest : public ::testing::Test {
 public:
  ~LineLogTest() override { unlink(path_.c_str()); }

 protected:
  std::vector<std::string> Lines() const { return LinesOf(path_); }
  LineLogOptions Options() {
    return {path_, "test log", "test",
            [this](uint64_t lines) { told_lost_ += lines; }};
  }
  // What `path` holds once it holds `lines` lines.
  static std::vector<std::string> AwaitLines(const std::string& path,
                                             size_t lines) {
    std::vector<std::string> found;
    while (found.size() < lines) {
      std::this_thread::yield();
      found = LinesOf(path);
    }
    return found;
  }
  static std::vector<std::string> LinesOf(const std::string& path) {
    std::ifstream file(path);
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
  }

  std::atomic<uint64_t> told_lost_{0};
  const std::string path_ =
      absl::StrCat(::testing::TempDir(), "line_log_", getpid());
};

TEST_F(LineLogTest, WritesEveryLineBeforeItEnds) {
  for (int round = 0; round < 2; ++round) {  // the second one appends
    const auto log = LineLog::Open(Options());
    ASSERT_TRUE(log.ok()) << log.status();
    for (int i = 0; i < 100; ++i) EXPECT_TRUE((*log)->Add(absl::StrCat(i)));
    EXPECT_EQ((*log)->lost(), 0u);
  }
  const std::vector<std::string> lines = Lines();
  ASSERT_EQ(lines.size(), 200u);
  EXPECT_EQ(lines[99], "99");
  EXPECT_EQ(lines[100], "0");
}

TEST_F(LineLogTest, KeepsLinesOfSeveralThreadsWhole) {
  {
    const auto log = LineLog::Open(Options());
    ASSERT_TRUE(log.ok());
    std::vector<std::thread> threads;
    for (char c = 'a'; c < 'e'; ++c) {
      threads.emplace_back([&, c] {
        for (int i = 0; i < 200; ++i) (*log)->Add(std::string(50, c));
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  const std::vector<std::string> lines = Lines();
  EXPECT_EQ(lines.size(), 800u);
  for (const std::string& line : lines) {
    EXPECT_EQ(line, std::string(50, line[0]));
  }
}

// A pipe that nobody reads holds some tens of kilobytes.
TEST_F(LineLogTest, DropsAndCountsWhatCannotBeWritten) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  const int reader = open(path_.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  auto log = LineLog::Open(Options());
  ASSERT_TRUE(log.ok()) << log.status();
  const std::string line(1000, 'x');
  uint64_t refused = 0;
  for (size_t i = 0; i < 3 * LineLog::kLinesMax; ++i) {
    if (!(*log)->Add(line)) ++refused;
  }
  EXPECT_GT(refused, LineLog::kLinesMax);
  EXPECT_EQ((*log)->lost(), refused);
  EXPECT_EQ(told_lost_.load(), refused);
  std::vector<char> buffer(1 << 20);
  std::thread drain([&] {  // or its destructor would wait for the pipe
    fcntl(reader, F_SETFL, 0);
    while (read(reader, buffer.data(), buffer.size()) > 0) {
    }
  });
  log->reset();
  drain.join();
  close(reader);
}

TEST_F(LineLogTest, WritesToItsPathAgainAfterTheFileWasMoved) {
  const std::string moved = absl::StrCat(path_, ".1");
  auto log = LineLog::Open(Options());
  ASSERT_TRUE(log.ok()) << log.status();
  (*log)->Add("before");
  AwaitLines(path_, 1);
  ASSERT_EQ(rename(path_.c_str(), moved.c_str()), 0);
  (*log)->Reopen();
  (*log)->Add("after");
  log->reset();
  EXPECT_THAT(LinesOf(moved), ElementsAre("before"));
  EXPECT_THAT(Lines(), ElementsAre("after"));
  unlink(moved.c_str());
}

TEST_F(LineLogTest, MakesTheNewFileWithoutWaitingForALine) {
  auto log = LineLog::Open(Options());
  ASSERT_TRUE(log.ok()) << log.status();
  ASSERT_EQ(unlink(path_.c_str()), 0);
  (*log)->Reopen();
  while (access(path_.c_str(), F_OK) != 0) std::this_thread::yield();
}

TEST_F(LineLogTest, GoesOnWithTheFileThatNobodyMoved) {
  auto log = LineLog::Open(Options());
  ASSERT_TRUE(log.ok()) << log.status();
  (*log)->Add("before");
  (*log)->Reopen();
  (*log)->Add("after");
  log->reset();
  EXPECT_THAT(Lines(), ElementsAre("before", "after"));
}

TEST_F(LineLogTest, WritesOnWhenThePathCannotBeOpened) {
  const std::string moved = absl::StrCat(path_, ".1");
  auto log = LineLog::Open(Options());
  ASSERT_TRUE(log.ok()) << log.status();
  ASSERT_EQ(rename(path_.c_str(), moved.c_str()), 0);
  ASSERT_EQ(mkdir(path_.c_str(), 0700), 0);
  (*log)->Reopen();
  (*log)->Add("after");
  log->reset();
  EXPECT_THAT(LinesOf(moved), ElementsAre("after"));
  EXPECT_EQ(told_lost_.load(), 0u);
  unlink(moved.c_str());
  rmdir(path_.c_str());
}

TEST_F(LineLogTest, CountsTheLinesThatAFullDiskRefuses) {
  LineLogOptions options = Options();
  options.path = "/dev/full";
  auto log = LineLog::Open(std::move(options));
  ASSERT_TRUE(log.ok()) << log.status();
  for (int i = 0; i < 100; ++i) EXPECT_TRUE((*log)->Add("x"));
  log->reset();
  EXPECT_EQ(told_lost_.load(), 100u);
}

// The file may hold a part of a line when the disk is full; what is written
// once there is room again begins on a line of its own. The limit holds for the
// process log, too, which therefore lacks its first message.
TEST_F(LineLogTest, BeginsANewLineAfterOneThatWasCut) {
  constexpr rlim_t kBytes = 5;
  const auto write_with_limits = [this] {
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit limit = {};
    getrlimit(RLIMIT_FSIZE, &limit);
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = kBytes;
    setrlimit(RLIMIT_FSIZE, &limit);
    auto log = LineLog::Open(Options());
    (*log)->Add("too long");
    while (told_lost_.load() == 0) std::this_thread::yield();
    for (uint64_t lost = 2; lost < 5; ++lost) {
      (*log)->Add("lost");
      while (told_lost_.load() < lost) std::this_thread::yield();
    }
    limit.rlim_cur = before;
    setrlimit(RLIMIT_FSIZE, &limit);
    (*log)->Add("whole");
    log->reset();
    _exit(0);
  };
  EXPECT_EXIT(write_with_limits(), testing::ExitedWithCode(0),
              "is written again; 4 lines were lost");
  EXPECT_THAT(Lines(), ElementsAre("too l", "whole"));
}

// copytruncate, after a line was cut.
TEST_F(LineLogTest, BeginsAnEmptiedFileWithALine) {
  const auto write_with_limits = [this] {
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit limit = {};
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = 5;
    setrlimit(RLIMIT_FSIZE, &limit);
    auto log = LineLog::Open(Options());
    (*log)->Add("too long");
    while (told_lost_.load() == 0) std::this_thread::yield();
    _exit(truncate(path_.c_str(), 0) == 0 && (*log)->Add("one") &&
                  AwaitLines(path_, 1).at(0) == "one"
              ? 0
              : 1);
  };
  EXPECT_EXIT(write_with_limits(), testing::ExitedWithCode(0), "");
}

TEST_F(LineLogTest, SaysWhatTheSystemSays) {
  LineLogOptions options = Options();
  options.path = "/no/such/directory/log";
  EXPECT_THAT(LineLog::Open(options).status().message(),
              HasSubstr("cannot write test log /no/such/directory/log: No such "
                        "file or directory"));
  // Nobody reads it: an error, and no wait for a reader.
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_THAT(LineLog::Open(Options()).status().message(),
              HasSubstr("No such device or address"));
}

}  // namespace
}  // namespace fff::base
