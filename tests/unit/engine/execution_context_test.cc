#include "server/engine/execution_context.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fff::engine {
namespace {

using Range = std::pair<int64_t, int64_t>;

// The ranges of one ParallelFor, by thread index.
std::vector<Range> Ranges(ExecutionContext& context, int64_t count,
                          int64_t grain) {
  std::mutex mutex;
  std::vector<Range> ranges(static_cast<size_t>(context.threads()), {-1, -1});
  context.ParallelFor(count, grain,
                      [&](int64_t begin, int64_t end, int thread) {
                        const std::lock_guard<std::mutex> lock(mutex);
                        ranges[static_cast<size_t>(thread)] = {begin, end};
                      });
  return ranges;
}

TEST(ExecutionContext, OneThreadRunsTheWholeRangeOnTheCaller) {
  ExecutionContext context(1);
  std::thread::id ran_on;
  context.ParallelFor(100, 1, [&](int64_t begin, int64_t end, int thread) {
    EXPECT_EQ(begin, 0);
    EXPECT_EQ(end, 100);
    EXPECT_EQ(thread, 0);
    ran_on = std::this_thread::get_id();
  });
  EXPECT_EQ(ran_on, std::this_thread::get_id());
}

TEST(ExecutionContext, SplitsEvenlyOverThreads) {
  ExecutionContext context(4);
  EXPECT_THAT(Ranges(context, 10, 1),
              testing::ElementsAre(Range(0, 3), Range(3, 6), Range(6, 9),
                                   Range(9, 10)));
}

TEST(ExecutionContext, NoRangeIsSmallerThanTheGrainExceptTheLast) {
  ExecutionContext context(4);
  EXPECT_THAT(Ranges(context, 10, 6),
              testing::ElementsAre(Range(0, 6), Range(6, 10), Range(-1, -1),
                                   Range(-1, -1)));
  EXPECT_THAT(Ranges(context, 5, 100),
              testing::ElementsAre(Range(0, 5), Range(-1, -1), Range(-1, -1),
                                   Range(-1, -1)));
}

TEST(ExecutionContext, RunsNothingForAnEmptyRange) {
  ExecutionContext context(2);
  context.ParallelFor(0, 1, [](int64_t, int64_t, int) { FAIL(); });
}

TEST(ExecutionContext, FewerThreadsThanOneCountAsOne) {
  EXPECT_EQ(ExecutionContext(0).threads(), 1);
  EXPECT_EQ(ExecutionContext(-3).threads(), 1);
}

TEST(ExecutionContext, ReturnsOnlyWhenEveryRangeIsDone) {
  ExecutionContext context(3);
  std::vector<int> counts(3000, 0);  // a race here is a finding for TSan
  for (int round = 0; round < 500; ++round) {
    context.ParallelFor(3000, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) ++counts[static_cast<size_t>(i)];
    });
  }
  EXPECT_THAT(counts, testing::Each(500));
}

TEST(ExecutionContext, ThreadsThatHaveFallenAsleepStillTakeWork) {
  ExecutionContext context(2);
  std::atomic<int> ran{0};
  const auto count = [&](int64_t, int64_t, int) { ++ran; };
  context.ParallelFor(2, 1, count);
  // Long enough in work, not in wall time, for the other thread to stop
  // spinning on any machine.
  volatile double sink = 0;
  for (int i = 0; i < 5000000; ++i) sink = sink + 1e-9 * i;
  context.ParallelFor(2, 1, count);
  EXPECT_EQ(ran, 4);
}

TEST(ExecutionContext, ManyContextsLiveSideBySide) {
  std::vector<std::thread> callers;
  std::atomic<int64_t> sum{0};
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&sum] {
      ExecutionContext context(2);
      for (int round = 0; round < 100; ++round) {
        context.ParallelFor(10, 1, [&](int64_t begin, int64_t end, int) {
          sum += end - begin;
        });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(sum, 3 * 100 * 10);
}

TEST(Workspace, GivesAlignedMemoryThatGrows) {
  Workspace workspace;
  for (const int64_t count : {1, 100, 7, 100000}) {
    ScratchScope scratch(workspace);
    float* floats = scratch.Floats(count);
    int32_t* ints = scratch.Ints(count);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(floats) % 64, 0u);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(ints) % 64, 0u);
    floats[count - 1] = 1;
    ints[count - 1] = 1;
  }
}

TEST(Workspace, WhatIsTakenDoesNotMoveNorOverlap) {
  Workspace workspace;
  ScratchScope outer(workspace);
  float* const first = outer.Floats(100);
  first[0] = 1;
  first[99] = 2;
  {
    ScratchScope inner(workspace);
    float* const second = inner.Floats(1 << 20);  // a block of its own
    std::fill_n(second, 1 << 20, 7.0F);
    EXPECT_TRUE(second >= first + 100 || second + (1 << 20) <= first);
  }
  EXPECT_EQ(first[0], 1);
  EXPECT_EQ(first[99], 2);
}

TEST(Workspace, AScopeGivesBackWhatItTook) {
  Workspace workspace;
  ScratchScope outer(workspace);
  float* again = nullptr;
  for (int i = 0; i < 3; ++i) {
    ScratchScope inner(workspace);
    float* const taken = inner.Floats(1000);
    EXPECT_TRUE(again == nullptr || again == taken);
    again = taken;
  }
}

TEST(Workspace, IsOneBlockOnceItIsWarm) {
  Workspace workspace;
  int64_t held = 0;
  for (int i = 0; i < 4; ++i) {
    {
      ScratchScope scratch(workspace);
      scratch.Floats(1000);
      scratch.Floats(5000);
      scratch.Ints(20000);
    }
    if (i == 1) held = workspace.floats();
    if (i > 1) {
      EXPECT_EQ(workspace.floats(), held);
    }
  }
  EXPECT_GE(held, 26000);
  EXPECT_LT(held, 60000);
}

}  // namespace
}  // namespace fff::engine
