#include "server/base/memory_info.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"

namespace fff::base {
namespace {

class CgroupMemoryLimitTest : public testing::Test {
 protected:
  CgroupMemoryLimitTest()
      : mount_(std::filesystem::path(testing::TempDir()) /
               testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::remove_all(mount_);
  }
  void TearDown() override { std::filesystem::remove_all(mount_); }

  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = mount_ / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text << "\n";
  }
  int64_t Limit(const std::string& cgroups) {
    return CgroupMemoryLimit(mount_.string(), cgroups);
  }

  const std::filesystem::path mount_;
};

TEST_F(CgroupMemoryLimitTest, IsThatOfTheProcessesOwnGroup) {
  Write("system.slice/fff.service/memory.max", "500000000");
  Write("system.slice/memory.max", "max");
  EXPECT_EQ(Limit("0::/system.slice/fff.service\n"), 500000000);
}

TEST_F(CgroupMemoryLimitTest, IsTheLowestOfThoseAround) {
  Write("a/b/memory.max", "500");
  Write("a/memory.max", "300");
  Write("memory.max", "400");
  EXPECT_EQ(Limit("0::/a/b\n"), 300);
}

TEST_F(CgroupMemoryLimitTest, ReadsVersionOne) {
  Write("memory/docker/abc/memory.limit_in_bytes", "536870912");
  Write("memory/memory.limit_in_bytes", "9223372036854771712");
  EXPECT_EQ(Limit("5:cpu,cpuacct:/other\n4:memory:/docker/abc\n0::/\n"),
            536870912);
}

TEST_F(CgroupMemoryLimitTest, IsThatOfTheMountWhenThePathIsTheHosts) {
  Write("memory/memory.limit_in_bytes", "268435456");
  EXPECT_EQ(Limit("4:memory:/kubepods/pod1/abc\n"), 268435456);
}

TEST_F(CgroupMemoryLimitTest, IsNoneWithoutLimitsOrReadableFiles) {
  EXPECT_EQ(Limit("0::/a\n"), 0);
  EXPECT_EQ(Limit(""), 0);
  Write("a/memory.max", "max");
  EXPECT_EQ(Limit("0::/a\nno such line\n:::::"), 0);
}

TEST(MemoryInfoTest, IsPositiveAndAtMostTheMachines) {
  const int64_t machine =
      int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  EXPECT_GT(AvailableMemoryBytes(), 0);
  EXPECT_LE(AvailableMemoryBytes(), machine);
}

TEST(MemoryInfoTest, ResidentBytesSeeWhatIsWritten) {
  constexpr size_t kBytes = size_t{64} << 20;
  const int64_t before = ResidentBytes();
  const std::vector<char> written(kBytes, 1);
  const int64_t after = ResidentBytes();
  EXPECT_GT(before, 0);
  EXPECT_GE(after - before, int64_t{kBytes} / 2);
  EXPECT_EQ(std::accumulate(written.begin(), written.end(), size_t{0}), kBytes);
}

TEST(MemoryInfoTest, AllocatedBytesFollowWhatIsAllocatedAndFreed) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers have allocators of their own";
#endif
  constexpr int64_t kBytes = int64_t{64} << 20;
  const int64_t before = AllocatedBytes();
  auto block = std::make_unique<std::vector<char>>(kBytes);
  EXPECT_GE(AllocatedBytes() - before, kBytes);
  block.reset();
  EXPECT_LT(AllocatedBytes() - before, kBytes / 2);
}

// Heaps of a fresh process in which four threads have allocated, all alive.
int HeapsOfFourThreads() {
  std::atomic<int> allocated{0};
  absl::Notification counted;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      const std::vector<char> block(100 << 10);
      allocated.fetch_add(block.empty() ? 0 : 1);
      counted.WaitForNotification();
    });
  }
  while (allocated.load() < 4) std::this_thread::yield();
  char* text = nullptr;
  size_t size = 0;
  FILE* const out = open_memstream(&text, &size);
  malloc_info(0, out);
  fclose(out);
  int heaps = 0;
  for (const char* at = text; (at = strstr(at, "<heap nr=")); ++at) ++heaps;
  free(text);
  counted.Notify();
  for (std::thread& thread : threads) thread.join();
  return heaps;
}

TEST(MemoryInfoDeathTest, ThreadsShareAsManyHeapsAsAreAllowed) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers have allocators of their own";
#endif
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const auto many = [](int status) { return WEXITSTATUS(status) > 2; };
  EXPECT_EXIT(_exit(HeapsOfFourThreads()), many, "");
  const auto limited = [](int heaps) {
    LimitHeaps(heaps);
    _exit(HeapsOfFourThreads());
  };
  EXPECT_EXIT(limited(1), testing::ExitedWithCode(1), "");
  EXPECT_EXIT(limited(2), testing::ExitedWithCode(2), "");
  EXPECT_EXIT(limited(0), testing::ExitedWithCode(1), "");
}

}  // namespace
}  // namespace fff::base
