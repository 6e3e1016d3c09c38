#include "server/base/memory_info.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "server/base/cgroup.h"

namespace fff::base {
int64_t AvailableMemoryBytes() {
  const int64_t machine =
      int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  const int64_t limit = CgroupMemoryLimit();
  if (machine <= 0 || limit <= 0) return std::max<int64_t>({machine, limit, 0});
  return std::min(machine, limit);
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
