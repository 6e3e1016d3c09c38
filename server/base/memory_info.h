#pragma once

#include <cstdint>

namespace fff::base {

// Bytes of memory this process may use: the machine's, cut by the memory limits
// of its cgroup and of those around it (version 1 or 2). Never fails; 0 when
// nothing can be read.
int64_t AvailableMemoryBytes();

// Bytes that this process may still take: what the machine can hand out without
// swapping (MemAvailable), cut by what its cgroups and RLIMIT_AS leave. Never
// fails; 0 when nothing can be read, at least 1 when nothing is left.
int64_t FreeMemoryBytes();

// Memory of this process that is in RAM; 0 when it cannot be read.
int64_t ResidentBytes();

// Memory that was asked of the allocator and not freed. Takes every lock of the
// allocator, one after the other, for microseconds.
int64_t AllocatedBytes();

// Lets the allocator keep at most so many separate heaps (glibc: arenas), which
// threads share. By default every thread has its own, up to eight per CPU. Each
// grows until it has met its own busiest moment. Before the first thread
// starts.
void LimitHeaps(int heaps);

// Gives memory that was freed and is kept for later allocations back to the
// system. Takes milliseconds and every lock of the allocator: for rare moments.
void ReturnFreeMemory();

}  // namespace fff::base
