#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

// What the control groups of a process let it use, version 1 or 2. Every limit
// is the lowest of the process's own group and of those around it, because the
// kernel holds it to all of them.
//
// `mount` is where cgroups are mounted (/sys/fs/cgroup) and `cgroups` the text
// of /proc/PID/cgroup. In a container that text may name a path of the host;
// then the mount itself is the container's cgroup, so that is read too.
namespace fff::base {

// Bytes; 0 = no limit.
int64_t CgroupMemoryLimit(const std::string& mount, absl::string_view cgroups);

// CPUs that the quota pays for, such as 1.5; 0 = no limit.
double CgroupCpuLimit(const std::string& mount, absl::string_view cgroups);

// The same for this process.
int64_t CgroupMemoryLimit();
double CgroupCpuLimit();

}  // namespace fff::base
