#include "server/engine/kernel_stopwatch.h"

#include <algorithm>
#include <set>

#include "gtest/gtest.h"

namespace fff::engine {
namespace {

// Remembers the batch sizes of its calls and the first numbers of their rows.
class CountingKernel : public Kernel {
 public:
  absl::string_view name() const override { return "counting"; }
  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink&,
             ExecutionContext& context) const override {
    const tensor::ConstRows x = in[0].floats();
    EXPECT_EQ(context.threads(), 1);
    EXPECT_EQ(x.rows, y.rows);
    rows.push_back(x.rows);
    first.insert(x.data[0]);
    std::fill_n(y.data, y.rows * y.width, x.data[0]);
  }
  mutable std::vector<int64_t> rows;
  mutable std::set<float> first;
};

TEST(KernelStopwatchTest, RunsTheKernelThatWasAskedForAtItsBatchSize) {
  const CountingKernel a;
  const CountingKernel b;
  KernelStopwatch stopwatch({&a, &b}, 3, 2);
  EXPECT_GT(stopwatch.Sample(1, 8), 0);
  EXPECT_TRUE(a.rows.empty());
  ASSERT_GE(b.rows.size(), 3U) << "warm up, count, measure";
  EXPECT_EQ(std::set<int64_t>(b.rows.begin(), b.rows.end()),
            std::set<int64_t>{8});
}

TEST(KernelStopwatchTest, SmallBatchesTakeOtherRowsFromCallToCall) {
  const CountingKernel kernel;
  KernelStopwatch stopwatch({&kernel}, 3, 2);
  while (kernel.rows.size() < 64) stopwatch.Sample(0, 1);
  EXPECT_EQ(kernel.first.size(), 64U);
}

TEST(KernelStopwatchTest, RowsAndOutputsTakeBoundedMemory) {
  const CountingKernel kernel;
  EXPECT_EQ(KernelStopwatch({&kernel}, int64_t{1} << 24, 1).rows_max(), 0);
  EXPECT_EQ(KernelStopwatch({&kernel}, 512, 512).rows_max(), 1 << 14);
}

TEST(KernelStopwatchDeathTest, ABatchBeyondTheBoundIsABug) {
  const CountingKernel kernel;
  KernelStopwatch stopwatch({&kernel}, 512, 512);
  EXPECT_DEATH(stopwatch.Sample(0, 1 << 15), "check failed");
}

}  // namespace
}  // namespace fff::engine
