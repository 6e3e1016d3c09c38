#include "server/base/memory_info.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace fff::base {
namespace {

TEST(MemoryInfoTest, IsPositiveAndAtMostTheMachines) {
  const int64_t machine =
      int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  EXPECT_GT(AvailableMemoryBytes(), 0);
  EXPECT_LE(AvailableMemoryBytes(), machine);
}

}  // namespace
}  // namespace fff::base
