#include "server/base/cpu_info.h"

#include <sched.h>

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
  EXPECT_GE(L1DataBytes(), 0);
  EXPECT_GE(info.l3_bytes, 0);
  EXPECT_GE(info.cgroup_cpu_limit, 0);
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
