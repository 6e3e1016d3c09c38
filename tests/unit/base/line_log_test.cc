#include "server/base/line_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fff::base {
namespace {

class LineLogTest : public ::testing::Test {
 public:
  ~LineLogTest() override { unlink(path_.c_str()); }

 protected:
  std::vector<std::string> Lines() const {
    std::ifstream file(path_);
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
  }
  const std::string path_ =
      absl::StrCat(::testing::TempDir(), "line_log_", getpid());
};

TEST_F(LineLogTest, WritesEveryLineBeforeItEnds) {
  for (int round = 0; round < 2; ++round) {  // the second one appends
    const auto log = LineLog::Open(path_, "test");
    ASSERT_TRUE(log.ok()) << log.status();
    for (int i = 0; i < 100; ++i) EXPECT_TRUE((*log)->Add(absl::StrCat(i)));
    EXPECT_EQ((*log)->dropped(), 0u);
  }
  const std::vector<std::string> lines = Lines();
  ASSERT_EQ(lines.size(), 200u);
  EXPECT_EQ(lines[99], "99");
  EXPECT_EQ(lines[100], "0");
}

TEST_F(LineLogTest, KeepsLinesOfSeveralThreadsWhole) {
  {
    const auto log = LineLog::Open(path_, "test");
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
  auto log = LineLog::Open(path_, "test");
  ASSERT_TRUE(log.ok()) << log.status();
  const std::string line(1000, 'x');
  uint64_t refused = 0;
  for (size_t i = 0; i < 3 * LineLog::kLinesMax; ++i) {
    if (!(*log)->Add(line)) ++refused;
  }
  EXPECT_GT(refused, LineLog::kLinesMax);
  EXPECT_EQ((*log)->dropped(), refused);
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

}  // namespace
}  // namespace fff::base
