#pragma once

#include <cstdint>

namespace fff::base {

// Bytes of memory this process may use: the machine's, cut by the memory limit
// of its cgroup (version 1 or 2). Never fails; 0 when nothing can be read.
int64_t AvailableMemoryBytes();

// Gives memory that was freed and is kept for later allocations back to the
// system. Takes milliseconds and every lock of the allocator: for rare moments.
void ReturnFreeMemory();

}  // namespace fff::base
