#pragma once

#include <cstdint>
#include <string>

namespace fff::base {

// What a report about speed must say of the machine it was made on.
struct CpuInfo {
  std::string model;            // "AMD EPYC ..." as the kernel names it
  int logical_cpus = 1;         // this process may run on (affinity mask)
  int64_t l2_bytes = 0;         // a core; 0 when unknown
  int64_t l3_bytes = 0;         // shared; 0 when unknown
  double cgroup_cpu_limit = 0;  // CPUs granted by cgroup quota; 0 = no limit
};

// Reads /proc and sysconf; never fails, unknown fields keep their defaults.
CpuInfo ReadCpuInfo();

// A core's L1 data cache; 0 when unknown.
int64_t L1DataBytes();

// CPUs worth a thread each: the affinity mask cut by the cgroup quota, >= 1.
int AvailableCpus();

}  // namespace fff::base
