#include "server/metrics/process_metrics.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <ctime>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"

namespace fff::metrics {
namespace {

TEST(ProcessMetrics, SizesArePlausible) {
  const ProcessMetrics process = ReadProcessMetrics();
  EXPECT_GE(process.resident_bytes, 256 << 10);
  EXPECT_GE(process.virtual_bytes, process.resident_bytes);
}

TEST(ProcessMetrics, StartedInThePast) {
  const double now = static_cast<double>(std::time(nullptr));
  const double start = ReadProcessMetrics().start_time_seconds;
  // btime is cut to whole seconds, and the clock may have been stepped since.
  EXPECT_LE(start, now + 2);
  EXPECT_GT(start, now - 86'400);
}

TEST(ProcessMetrics, CountsCpuTimeThatIsSpent) {
  const double before = ReadProcessMetrics().cpu_seconds;
  const std::clock_t start = std::clock();
  volatile double sink = 0;
  while (std::clock() - start < CLOCKS_PER_SEC / 20) sink = sink + 1;
  const double after = ReadProcessMetrics().cpu_seconds;
  // 50 ms were spent; the kernel counts in ticks of 10 ms.
  EXPECT_GE(after - before, 0.03);
}

TEST(ProcessMetrics, CountsADescriptorThatIsOpened) {
  const ProcessMetrics before = ReadProcessMetrics();
  std::vector<int> opened;
  for (int i = 0; i < 5; ++i) opened.push_back(open("/dev/null", O_RDONLY));
  const ProcessMetrics after = ReadProcessMetrics();
  for (const int fd : opened) close(fd);
  EXPECT_EQ(after.open_fds, before.open_fds + 5);
  EXPECT_GE(before.open_fds, 3);
  EXPECT_GE(after.max_fds, after.open_fds);
}

TEST(ProcessMetrics, CountsAThreadThatRuns) {
  std::thread([] {}).join();  // ThreadSanitizer starts one of its own with it
  absl::Notification release;
  const double before = ReadProcessMetrics().threads;
  std::thread thread([&] { release.WaitForNotification(); });
  const double during = ReadProcessMetrics().threads;
  release.Notify();
  thread.join();
  EXPECT_GE(before, 1);
  EXPECT_EQ(during, before + 1);
}

}  // namespace
}  // namespace fff::metrics
