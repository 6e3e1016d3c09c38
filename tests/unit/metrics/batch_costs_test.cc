#include "server/metrics/batch_costs.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "server/metrics/histogram.h"

namespace fff::metrics {
namespace {

TEST(BatchCosts, CountsRowsAndTimeAtTheirBatchSize) {
  BatchCosts costs;
  costs.Add(1, 10);
  costs.Add(3, 20);
  costs.Add(4, 30);
  costs.Add(65536, 40);
  costs.Add(65537, 50);
  const std::vector<SizeCost> found = costs.Snapshot();
  ASSERT_EQ(found.size(), RowBounds().size() + 1);
  EXPECT_EQ(found[0].rows, 1u);
  EXPECT_EQ(found[0].compute_ns, 10u);
  EXPECT_EQ(found[1].rows, 0u);
  EXPECT_EQ(found[2].rows, 7u);  // 3 and 4
  EXPECT_EQ(found[2].compute_ns, 50u);
  EXPECT_EQ(found[16].rows, 65536u);
  EXPECT_EQ(found[17].rows, 65537u);
}

TEST(BatchCosts, LosesNothingAmongThreads) {
  BatchCosts costs;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&costs] {
      for (int i = 0; i < 1000; ++i) costs.Add(2, 3);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(costs.Snapshot()[1].rows, 16000u);
  EXPECT_EQ(costs.Snapshot()[1].compute_ns, 24000u);
}

}  // namespace
}  // namespace fff::metrics
