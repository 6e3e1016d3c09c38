#pragma once

#include <cstdio>
#include <cstdlib>

// Contracts of our own code. A broken one is a bug of ours, so the process ends
// at once and says where. Bytes from network or disk get a Status instead.
namespace fff::base {

[[noreturn]] inline void FailCheck(const char* file, int line,
                                   const char* condition) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace fff::base

// Ends the process unless `condition` holds. For what costs nothing beside the
// work that it guards: once per call, layer or batch.
#define FFF_CHECK(condition)          \
  ((condition) ? static_cast<void>(0) \
               : ::fff::base::FailCheck(__FILE__, __LINE__, #condition))

// The same in builds with asserts; never evaluated in others. For inner loops.
#ifdef NDEBUG
#define FFF_DCHECK(condition) FFF_CHECK(true || (condition))
#else
#define FFF_DCHECK(condition) FFF_CHECK(condition)
#endif
