#include "server/base/memory_info.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace fff::base {
namespace {

// The lower one, where 0 is none.
int64_t Lower(int64_t a, int64_t b) {
  if (a <= 0 || b <= 0) return std::max<int64_t>({a, b, 0});
  return std::min(a, b);
}

// The lowest number in `file` of the directory and of its parents in `mount`.
// "max" and what is missing are no number.
int64_t LowestLimit(const std::string& mount, std::string path,
                    absl::string_view file) {
  int64_t lowest = 0;
  while (true) {
    std::ifstream in(absl::StrCat(mount, path, "/", file));
    int64_t limit = 0;
    if (in >> limit) lowest = Lower(lowest, limit);
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) return lowest;
    path.resize(slash);
  }
}

}  // namespace

int64_t CgroupMemoryLimit(const std::string& mount, absl::string_view cgroups) {
  int64_t lowest = 0;
  const std::string version_1 = absl::StrCat(mount, "/memory");
  const auto look = [&](const std::string& path) {
    lowest = Lower(lowest, LowestLimit(mount, path, "memory.max"));
    lowest =
        Lower(lowest, LowestLimit(version_1, path, "memory.limit_in_bytes"));
  };
  look("");
  for (const absl::string_view line : absl::StrSplit(cgroups, '\n')) {
    // id ":" controllers, none in version 2, ":" path
    const std::vector<absl::string_view> fields =
        absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    const std::vector<absl::string_view> controllers =
        absl::StrSplit(fields[1], ',');
    if (fields[1].empty() ||
        std::count(controllers.begin(), controllers.end(), "memory") > 0) {
      look(std::string(fields[2]));
    }
  }
  return lowest;
}

int64_t AvailableMemoryBytes() {
  const int64_t machine =
      int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  std::ifstream file("/proc/self/cgroup");
  const std::string cgroups(std::istreambuf_iterator<char>(file), {});
  return Lower(machine, CgroupMemoryLimit("/sys/fs/cgroup", cgroups));
}

int64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  int64_t pages_in_all = 0;
  int64_t pages = 0;
  if (!(file >> pages_in_all >> pages)) return 0;
  return pages * sysconf(_SC_PAGESIZE);
}

int64_t AllocatedBytes() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<int64_t>(info.uordblks + info.hblkhd);
}

void LimitHeaps(int heaps) { mallopt(M_ARENA_MAX, std::max(1, heaps)); }

void ReturnFreeMemory() { malloc_trim(0); }

}  // namespace fff::base
