#include "server/base/cpu_info.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "server/base/cgroup.h"

namespace fff::base {
namespace {

std::string ModelName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    const size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

}  // namespace

CpuInfo ReadCpuInfo() {
  CpuInfo info;
  info.model = ModelName();
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof(mask), &mask) == 0) {
    info.logical_cpus = std::max(1, CPU_COUNT(&mask));
  }
  info.l2_bytes = std::max(0L, sysconf(_SC_LEVEL2_CACHE_SIZE));
  info.l3_bytes = std::max(0L, sysconf(_SC_LEVEL3_CACHE_SIZE));
  info.cgroup_cpu_limit = CgroupCpuLimit();
  return info;
}

int64_t L1DataBytes() { return std::max(0L, sysconf(_SC_LEVEL1_DCACHE_SIZE)); }

int AvailableCpus() {
  const CpuInfo info = ReadCpuInfo();
  if (info.cgroup_cpu_limit <= 0) return info.logical_cpus;
  const int limit = static_cast<int>(std::ceil(info.cgroup_cpu_limit));
  return std::clamp(limit, 1, info.logical_cpus);
}

}  // namespace fff::base
