#include "server/base/memory_return.h"

#include <gtest/gtest.h>

namespace fff::base {
namespace {

constexpr int64_t kMany = MemoryReturnPolicy::kSlackBytes;

// Looks until it says yes, and how many there were; 0 = never in 100.
int LooksUntilReturn(MemoryReturnPolicy& policy, int64_t idle) {
  for (int look = 1; look <= 100; ++look) {
    if (policy.Look(idle)) return look;
  }
  return 0;
}

TEST(MemoryReturnPolicyTest, LeavesAloneWhatDoesNotGrow) {
  MemoryReturnPolicy policy;
  EXPECT_EQ(LooksUntilReturn(policy, 100 * kMany), 0);
  EXPECT_EQ(LooksUntilReturn(policy, 101 * kMany - 1), 0);
}

TEST(MemoryReturnPolicyTest, ReturnsWhatStaysAboveTheLowest) {
  MemoryReturnPolicy policy;
  policy.Look(kMany);
  EXPECT_EQ(LooksUntilReturn(policy, 2 * kMany), MemoryReturnPolicy::kLooks);
}

TEST(MemoryReturnPolicyTest, WaitsForMemoryThatComesAndGoes) {
  MemoryReturnPolicy policy;
  policy.Look(kMany);
  for (int round = 0; round < 10; ++round) {
    for (int look = 1; look < MemoryReturnPolicy::kLooks; ++look) {
      EXPECT_FALSE(policy.Look(9 * kMany));
    }
    EXPECT_FALSE(policy.Look(kMany));
  }
}

TEST(MemoryReturnPolicyTest, DoesNotAskAgainForWhatCannotBeReturned) {
  MemoryReturnPolicy policy;
  policy.Look(kMany);
  ASSERT_GT(LooksUntilReturn(policy, 9 * kMany), 0);
  policy.Returned(8 * kMany);
  EXPECT_EQ(LooksUntilReturn(policy, 8 * kMany), 0);
  EXPECT_GT(LooksUntilReturn(policy, 9 * kMany), 0);
}

TEST(MemoryReturnPolicyTest, FollowsWhatWasReturnedOtherwise) {
  MemoryReturnPolicy policy;
  policy.Look(9 * kMany);
  policy.Look(2 * kMany);
  EXPECT_GT(LooksUntilReturn(policy, 3 * kMany), 0);
}

TEST(MemoryReturnerTest, EndsAtOnceAndUnstarted) {
  MemoryReturner started;
  started.Start();
  started.Stop();
  started.Stop();
  const MemoryReturner never;
}

}  // namespace
}  // namespace fff::base
