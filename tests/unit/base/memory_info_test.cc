#include "server/base/memory_info.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"

namespace fff::base {
namespace {

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
