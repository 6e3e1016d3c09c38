#include "server/rpc/transport/queue_count.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace fff::rpc {
namespace {

constexpr double kSeconds = 0.05;  // of a window

// What so many queues do under one load.
struct State {
  double rate;  // events per second
  double busy;  // CPU seconds of their threads per second
};

// Measured with a server on 16 cores, `CLIENTS x CALLS` under way; the threads
// share the work evenly.
using Load = std::map<int, State>;
const Load kOneByOne = {{1, {14213, 0.65}},
                        {2, {11777, 0.63}},
                        {4, {6923, 0.74}},
                        {8, {5463, 0.67}}};
const Load kOneBy64 = {{1, {34619, 1.0}},
                       {2, {47723, 1.5}},
                       {4, {62899, 3.36}},
                       {8, {45280, 2.95}}};
const Load kFourBy16 = {{1, {48046, 1.0}},
                        {2, {72696, 2.0}},
                        {4, {134557, 4.0}},
                        {8, {192843, 7.5}}};
const Load kEightBy16 = {{1, {48253, 1.0}},
                         {2, {62595, 2.0}},
                         {4, {136840, 4.0}},
                         {8, {207379, 7.7}}};

QueueCount::Window WindowOf(const State& state, int queues) {
  return {kSeconds, state.rate * kSeconds, state.busy * kSeconds,
          state.busy / queues};
}

// Runs so many seconds of a load; the count that most of the second half had,
// and how often it changed.
int After(QueueCount& count, const Load& load, double seconds,
          int* changes = nullptr) {
  std::map<int, int> windows;
  for (double at = 0; at < seconds; at += kSeconds) {
    const int wanted = count.wanted();
    const bool changed = count.Decide(WindowOf(load.at(wanted), wanted));
    EXPECT_EQ(changed, count.wanted() != wanted);
    if (changed && changes != nullptr) ++*changes;
    if (at > seconds / 2) ++windows[wanted];
  }
  return std::max_element(
             windows.begin(), windows.end(),
             [](const auto& a, const auto& b) { return a.second < b.second; })
      ->first;
}

TEST(QueueCountTest, BeginsWithOneAndStaysWhileItHasRoom) {
  QueueCount count(8);
  EXPECT_EQ(count.wanted(), 1);
  int changes = 0;
  EXPECT_EQ(After(count, kOneByOne, 10, &changes), 1);
  EXPECT_EQ(changes, 0);
}

TEST(QueueCountTest, GrowsWhileTheRateGrows) {
  QueueCount count(8);
  EXPECT_EQ(After(count, kFourBy16, 2), 8);
}

TEST(QueueCountTest, TakesTheNextStepWhereTheFirstCostsTooMuch) {
  // Two queues cost 1.53 times as much per call as one, four 1.39 times.
  QueueCount count(8);
  EXPECT_EQ(After(count, kEightBy16, 3), 8);
}

TEST(QueueCountTest, DoesNotPayForThreadsThatWaitForEachOther) {
  QueueCount count(8);
  EXPECT_EQ(After(count, kOneBy64, 60), 2);
}

TEST(QueueCountTest, ComesBackWhenTheLoadIsGone) {
  QueueCount count(8);
  ASSERT_EQ(After(count, kEightBy16, 60), 8);
  EXPECT_EQ(After(count, kOneByOne, 2), 1);
}

TEST(QueueCountTest, ComesBackAfterALongPause) {
  QueueCount count(8);
  ASSERT_EQ(After(count, kEightBy16, 60), 8);
  // A window without end: its first events are those after the pause.
  count.Decide({3600, 100, 0.001, 0.0001});
  EXPECT_EQ(After(count, kOneByOne, 2), 1);
}

// One window said that two queues are worth it, the others do not.
TEST(QueueCountTest, OneWindowDoesNotDecideForEver) {
  const Load no_gain = {{1, {40506, 1.0}}, {2, {47152, 2.0}}};
  QueueCount count(2);
  ASSERT_TRUE(count.Decide(WindowOf(no_gain.at(1), 1)));
  ASSERT_FALSE(count.Decide(WindowOf(no_gain.at(2), 2)));  // it settles
  ASSERT_FALSE(count.Decide(WindowOf({80000, 2}, 2)));
  ASSERT_EQ(count.wanted(), 2);
  EXPECT_EQ(After(count, no_gain, 10), 1);
}

TEST(QueueCountTest, TrialsThatFailBecomeRare) {
  QueueCount count(2);
  const Load no_gain = {{1, {50000, 1.0}}, {2, {50000, 1.6}}};
  int early = 0;
  int late = 0;
  After(count, no_gain, 2, &early);
  After(count, no_gain, 60, &late);
  EXPECT_GE(early, 6);
  EXPECT_LE(late, 62);  // there and back, every two seconds
}

TEST(QueueCountTest, LeavesAFullMachineAlone) {
  QueueCount count(8);
  ASSERT_EQ(After(count, kEightBy16, 10), 8);
  int changes = 0;
  EXPECT_EQ(After(count, kEightBy16, 60, &changes), 8);
  EXPECT_EQ(changes, 0);
}

TEST(QueueCountTest, TriesNoMoreThanThereAre) {
  QueueCount count(6);
  const Load linear = {{1, {10, 1}}, {2, {20, 2}}, {4, {40, 4}}, {6, {60, 6}}};
  EXPECT_EQ(After(count, linear, 2), 6);
  EXPECT_EQ(After(count, linear, 60), 6);
  const Load little = {
      {1, {5, 0.5}}, {2, {5, 0.5}}, {4, {5, 0.5}}, {6, {5, 0.5}}};
  EXPECT_EQ(After(count, little, 2), 1);
}

TEST(QueueCountTest, WindowsWithoutEventsSayNothing) {
  QueueCount count(4);
  EXPECT_FALSE(count.Decide({0.05, 0, 0.05, 1}));
  EXPECT_FALSE(count.Decide({0, 10, 0, 1}));
  EXPECT_EQ(count.wanted(), 1);
}

}  // namespace
}  // namespace fff::rpc
