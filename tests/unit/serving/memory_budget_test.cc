#include "server/serving/batching/memory_budget.h"

#include <gtest/gtest.h>

namespace fff::serving {
namespace {

TEST(MemoryBudget, LetsInWhatFits) {
  MemoryBudget budget(100);
  EXPECT_TRUE(budget.TryCharge(60));
  EXPECT_TRUE(budget.TryCharge(40));
  EXPECT_FALSE(budget.TryCharge(1));
  EXPECT_EQ(budget.used(), 100);
  budget.Release(40);
  EXPECT_TRUE(budget.TryCharge(30));
  EXPECT_EQ(budget.used(), 90);
}

TEST(MemoryBudget, LetsInALargeOneWhenItIsAlone) {
  MemoryBudget budget(100);
  EXPECT_TRUE(budget.TryCharge(1000));
  EXPECT_FALSE(budget.TryCharge(1));
  budget.Release(1000);
  EXPECT_TRUE(budget.TryCharge(1));
  EXPECT_FALSE(budget.TryCharge(1000));
}

TEST(MemoryBudget, ALargeOneThatIsAloneMayGrow) {
  MemoryBudget budget(100);
  EXPECT_TRUE(budget.TryCharge(1000));
  EXPECT_TRUE(budget.TryCharge(50, /*held=*/1000));
  EXPECT_FALSE(budget.TryCharge(50));
  EXPECT_FALSE(budget.TryCharge(50, /*held=*/100));
}

TEST(MemoryBudget, HasNoBoundWhenItIsZero) {
  MemoryBudget budget(0);
  EXPECT_TRUE(budget.TryCharge(int64_t{1} << 40));
  EXPECT_TRUE(budget.TryCharge(int64_t{1} << 40));
}

}  // namespace
}  // namespace fff::serving
