#include "server/base/ticker.h"

#include <gtest/gtest.h>

#include "absl/synchronization/blocking_counter.h"

namespace fff::base {
namespace {

TEST(TickerTest, CallsAgainAndAgainUntilItIsStopped) {
  absl::BlockingCounter three(3);
  int calls = 0;
  Ticker ticker("test", absl::Milliseconds(1), [&] {
    if (++calls <= 3) three.DecrementCount();
  });
  ticker.Start();
  three.Wait();
  ticker.Stop();
  const int at_the_end = calls;
  EXPECT_GE(at_the_end, 3);
  ticker.Stop();
  EXPECT_EQ(calls, at_the_end);
}

TEST(TickerTest, OneThatWasNotStartedCanBeStopped) {
  Ticker ticker("test", absl::Hours(1), [] { FAIL(); });
  ticker.Stop();
}

TEST(TickerTest, StopDoesNotWaitForTheNextCall) {
  Ticker ticker("test", absl::Hours(1), [] { FAIL(); });
  ticker.Start();
  ticker.Stop();
}

}  // namespace
}  // namespace fff::base
