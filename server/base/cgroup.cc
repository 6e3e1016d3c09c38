#include "server/base/cgroup.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace fff::base {
namespace {

constexpr char kMount[] = "/sys/fs/cgroup";

// Reads a limit in one directory; 0 when there is none.
using ReadLimit = absl::FunctionRef<double(const std::string& directory)>;

// The lower one, where 0 is none.
double Lower(double a, double b) {
  if (a <= 0 || b <= 0) return std::max({a, b, 0.0});
  return std::min(a, b);
}

// The lowest limit of `path` below `mount` and of its parents.
double LowestAlong(const std::string& mount, std::string path, ReadLimit read) {
  double lowest = 0;
  while (true) {
    lowest = Lower(lowest, read(absl::StrCat(mount, path)));
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) return lowest;
    path.resize(slash);
  }
}

// The lowest limit of the groups in which `controller` holds the process.
double LowestLimit(const std::string& mount, absl::string_view cgroups,
                   absl::string_view controller, ReadLimit read) {
  double lowest = 0;
  const auto look = [&](absl::string_view below, absl::string_view path) {
    const std::string root =
        below.empty() ? mount : absl::StrCat(mount, "/", below);
    lowest = Lower(lowest, LowestAlong(root, std::string(path), read));
  };
  look("", "");
  look(controller, "");
  for (const absl::string_view line : absl::StrSplit(cgroups, '\n')) {
    // id ":" controllers, none in version 2, ":" path
    const std::vector<absl::string_view> fields =
        absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    if (fields[1].empty()) {
      look("", fields[2]);
      look("unified", fields[2]);  // beside version 1
      continue;
    }
    const std::vector<absl::string_view> controllers =
        absl::StrSplit(fields[1], ',');
    if (std::count(controllers.begin(), controllers.end(), controller) == 0) {
      continue;
    }
    look(controller, fields[2]);
    // Controllers that share a hierarchy share its directory, "cpu,cpuacct";
    // names of single ones are links that may be missing.
    if (controllers.size() > 1) look(fields[1], fields[2]);
  }
  return lowest;
}

double ReadNumber(const std::string& path) {
  std::ifstream file(path);
  double number = 0;  // "max" and what is missing are no number
  return file >> number ? number : 0;
}

double ReadMemoryLimit(const std::string& directory) {
  return Lower(ReadNumber(directory + "/memory.max"),
               ReadNumber(directory + "/memory.limit_in_bytes"));
}

double ReadCpuLimit(const std::string& directory) {
  double limit = 0;
  std::ifstream version_2(directory + "/cpu.max");  // "quota period"
  double quota = 0;
  double period = 0;
  if (version_2 >> quota >> period && period > 0) limit = quota / period;
  quota = ReadNumber(directory + "/cpu.cfs_quota_us");  // -1 = none
  period = ReadNumber(directory + "/cpu.cfs_period_us");
  return Lower(limit, period > 0 ? quota / period : 0);
}

std::string OwnCgroups() {
  std::ifstream file("/proc/self/cgroup");
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

int64_t CgroupMemoryLimit(const std::string& mount, absl::string_view cgroups) {
  // Version 1 writes "no limit" as the largest number of pages in 63 bits.
  constexpr double kBytesMax = 9e18;
  return static_cast<int64_t>(std::min(
      kBytesMax, LowestLimit(mount, cgroups, "memory", ReadMemoryLimit)));
}

double CgroupCpuLimit(const std::string& mount, absl::string_view cgroups) {
  return LowestLimit(mount, cgroups, "cpu", ReadCpuLimit);
}

int64_t CgroupMemoryLimit() { return CgroupMemoryLimit(kMount, OwnCgroups()); }

double CgroupCpuLimit() { return CgroupCpuLimit(kMount, OwnCgroups()); }

}  // namespace fff::base
