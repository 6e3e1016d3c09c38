#include "server/base/memory_info.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace fff::base {

int64_t AvailableMemoryBytes() {
  int64_t bytes = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  bytes = std::max<int64_t>(bytes, 0);
  // Version 2 says "max" and version 1 a number near 2^63 for no limit.
  for (const char* path : {"/sys/fs/cgroup/memory.max",
                           "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::ifstream file(path);
    int64_t limit = 0;
    if (file >> limit && limit > 0) {
      bytes = bytes > 0 ? std::min(bytes, limit) : limit;
    }
  }
  return bytes;
}

void ReturnFreeMemory() { malloc_trim(0); }

}  // namespace fff::base
