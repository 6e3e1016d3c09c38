#include "server/base/cgroup.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace fff::base {
namespace {

class CgroupTest : public testing::Test {
 protected:
  CgroupTest()
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
  int64_t Memory(const std::string& cgroups) {
    return CgroupMemoryLimit(mount_.string(), cgroups);
  }
  double Cpus(const std::string& cgroups) {
    return CgroupCpuLimit(mount_.string(), cgroups);
  }

  const std::filesystem::path mount_;
};

using CgroupMemoryTest = CgroupTest;
using CgroupCpuTest = CgroupTest;

TEST_F(CgroupMemoryTest, IsThatOfTheProcessesOwnGroup) {
  Write("system.slice/fff.service/memory.max", "500000000");
  Write("system.slice/memory.max", "max");
  EXPECT_EQ(Memory("0::/system.slice/fff.service\n"), 500000000);
}

TEST_F(CgroupMemoryTest, IsTheLowestOfThoseAround) {
  Write("a/b/memory.max", "500");
  Write("a/memory.max", "300");
  Write("memory.max", "400");
  EXPECT_EQ(Memory("0::/a/b\n"), 300);
}

TEST_F(CgroupMemoryTest, ReadsVersionOne) {
  Write("memory/docker/abc/memory.limit_in_bytes", "536870912");
  Write("memory/memory.limit_in_bytes", "9223372036854771712");
  EXPECT_EQ(Memory("5:cpu,cpuacct:/other\n4:memory:/docker/abc\n0::/\n"),
            536870912);
}

TEST_F(CgroupMemoryTest, OfVersionOneWithoutLimitIsBeyondEveryMachine) {
  Write("memory/memory.limit_in_bytes", "9223372036854771712");
  EXPECT_GT(Memory("4:memory:/\n"), int64_t{1} << 62);
}

TEST_F(CgroupMemoryTest, IsThatOfTheMountWhenThePathIsTheHosts) {
  Write("memory/memory.limit_in_bytes", "268435456");
  EXPECT_EQ(Memory("4:memory:/kubepods/pod1/abc\n"), 268435456);
}

TEST_F(CgroupMemoryTest, IsNoneWithoutLimitsOrReadableFiles) {
  EXPECT_EQ(Memory("0::/a\n"), 0);
  EXPECT_EQ(Memory(""), 0);
  Write("a/memory.max", "max");
  EXPECT_EQ(Memory("0::/a\nno such line\n:::::"), 0);
}

TEST_F(CgroupCpuTest, IsThatOfTheProcessesOwnGroup) {
  Write("system.slice/fff.service/cpu.max", "150000 100000");
  Write("system.slice/cpu.max", "max 100000");
  EXPECT_EQ(Cpus("0::/system.slice/fff.service\n"), 1.5);
}

TEST_F(CgroupCpuTest, IsTheLowestOfThoseAround) {
  Write("a/b/cpu.max", "400000 100000");
  Write("a/cpu.max", "10000 10000");
  Write("cpu.max", "300000 100000");
  EXPECT_EQ(Cpus("0::/a/b\n"), 1);
}

TEST_F(CgroupCpuTest, ReadsVersionOne) {
  Write("cpu/q/cpu.cfs_quota_us", "200000");
  Write("cpu/q/cpu.cfs_period_us", "100000");
  Write("cpu/cpu.cfs_quota_us", "-1");
  Write("cpu/cpu.cfs_period_us", "100000");
  EXPECT_EQ(Cpus("4:memory:/other\n1:cpu:/q\n0::/\n"), 2);
}

TEST_F(CgroupCpuTest, FindsSharedHierarchiesWithoutTheLinkOfTheSingleName) {
  Write("cpu,cpuacct/q/cpu.cfs_quota_us", "50000");
  Write("cpu,cpuacct/q/cpu.cfs_period_us", "100000");
  EXPECT_EQ(Cpus("4:cpu,cpuacct:/q\n"), 0.5);
}

TEST_F(CgroupCpuTest, DoesNotTakeCpuacctOrCpusetForCpu) {
  Write("cpu/q/cpu.cfs_quota_us", "100000");
  Write("cpu/q/cpu.cfs_period_us", "100000");
  EXPECT_EQ(Cpus("2:cpuacct:/q\n3:cpuset:/q\n"), 0);
}

TEST_F(CgroupCpuTest, FindsVersionTwoBesideVersionOne) {
  Write("unified/q/cpu.max", "100000 100000");
  EXPECT_EQ(Cpus("1:cpu:/\n0::/q\n"), 1);
}

TEST_F(CgroupCpuTest, IsThatOfTheMountWhenThePathIsTheHosts) {
  Write("cpu/cpu.cfs_quota_us", "300000");
  Write("cpu/cpu.cfs_period_us", "100000");
  EXPECT_EQ(Cpus("1:cpu:/kubepods/pod1/abc\n"), 3);
}

TEST_F(CgroupCpuTest, IsNoneForWordsAndZeros) {
  Write("a/cpu.max", "max 100000");
  EXPECT_EQ(Cpus("0::/a\n"), 0);
  Write("a/cpu.max", "100000 0");
  EXPECT_EQ(Cpus("0::/a\n"), 0);
  Write("a/cpu.max", "");
  EXPECT_EQ(Cpus("0::/a\n"), 0);
  Write("cpu/cpu.cfs_quota_us", "100000");  // no period
  EXPECT_EQ(Cpus("1:cpu:/\n"), 0);
}

}  // namespace
}  // namespace fff::base
