#include "server/base/cpu_info.h"

#include <sched.h>

#include <fstream>
#include <string>
#include <thread>

#include "gtest/gtest.h"

namespace fff::base {
namespace {

TEST(CpuInfoTest, DescribesThisMachine) {
  const CpuInfo info = ReadCpuInfo();
  EXPECT_FALSE(info.model.empty());
  EXPECT_EQ(info.model.find('\n'), std::string::npos);
  EXPECT_GE(info.logical_cpus, 1);
  EXPECT_GE(info.l2_bytes, 0);
  EXPECT_GE(info.l3_bytes, 0);
  EXPECT_GE(info.cgroup_cpu_limit, 0);
}

TEST(CpuInfoTest, KnowsTheL1ThatTheKernelKnows) {
  std::ifstream type("/sys/devices/system/cpu/cpu0/cache/index0/type");
  std::ifstream size("/sys/devices/system/cpu/cpu0/cache/index0/size");
  std::string what;
  int64_t kib = 0;
  if (!(type >> what) || what != "Data" || !(size >> kib)) {
    GTEST_SKIP() << "the kernel says nothing of the caches here";
  }
  if (L1DataBytes() == 0) GTEST_SKIP() << "the C library knows none here";
  EXPECT_EQ(L1DataBytes(), kib << 10);
}

TEST(CpuInfoTest, CountsTheAffinityMaskOfTheCaller) {
  int seen = 0;
  std::thread pinned([&seen] {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    ASSERT_EQ(sched_getaffinity(0, sizeof(mask), &mask), 0);
    int first = 0;
    while (!CPU_ISSET(first, &mask)) ++first;
    CPU_ZERO(&mask);
    CPU_SET(first, &mask);
    ASSERT_EQ(sched_setaffinity(0, sizeof(mask), &mask), 0);
    seen = ReadCpuInfo().logical_cpus;
    EXPECT_EQ(AvailableCpus(), 1);
  });
  pinned.join();
  EXPECT_EQ(seen, 1);
}

TEST(CpuInfoTest, GrantsAtLeastOneThreadAndNoMoreThanTheMask) {
  EXPECT_GE(AvailableCpus(), 1);
  EXPECT_LE(AvailableCpus(), ReadCpuInfo().logical_cpus);
}

}  // namespace
}  // namespace fff::base
