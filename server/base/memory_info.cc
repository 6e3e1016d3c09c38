#include "server/base/memory_info.h"

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "server/base/cgroup.h"

namespace fff::base {
namespace {

// "MemAvailable:   24066420 kB"; 0 when there is none (Linux before 3.14).
int64_t MachineFreeBytes() {
  std::ifstream file("/proc/meminfo");
  std::string word;
  while (file >> word) {
    if (word != "MemAvailable:") continue;
    int64_t kib = 0;
    return file >> kib ? kib * 1024 : 0;
  }
  return 0;
}

// Pages of the process: in all, and in RAM.
struct Pages {
  int64_t in_all = 0;
  int64_t resident = 0;
};
Pages OwnPages() {
  std::ifstream file("/proc/self/statm");
  Pages pages;
  if (!(file >> pages.in_all >> pages.resident)) return {};
  return pages;
}

}  // namespace

int64_t AvailableMemoryBytes() {
  const int64_t machine =
      int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  const int64_t limit = CgroupMemoryLimit();
  if (machine <= 0 || limit <= 0) return std::max<int64_t>({machine, limit, 0});
  return std::min(machine, limit);
}

int64_t FreeMemoryBytes() {
  const Pages pages = OwnPages();
  const int64_t page = sysconf(_SC_PAGESIZE);
  int64_t least = MachineFreeBytes();
  const auto cut = [&least](int64_t left) {
    left = std::max<int64_t>(left, 1);
    least = least <= 0 ? left : std::min(least, left);
  };
  if (const int64_t limit = CgroupMemoryLimit(); limit > 0) {
    cut(limit - pages.resident * page);
  }
  struct rlimit space;
  if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY) {
    cut(static_cast<int64_t>(space.rlim_cur) - pages.in_all * page);
  }
  return least;
}

int64_t ResidentBytes() { return OwnPages().resident * sysconf(_SC_PAGESIZE); }

int64_t AllocatedBytes() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<int64_t>(info.uordblks + info.hblkhd);
}

void LimitHeaps(int heaps) { mallopt(M_ARENA_MAX, std::max(1, heaps)); }

void ReturnFreeMemory() { malloc_trim(0); }

}  // namespace fff::base
