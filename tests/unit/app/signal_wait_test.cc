#include "server/app/signal_wait.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

namespace fff::app {
namespace {

// The signals are blocked for the rest of this process; each test takes those
// that it sent.
class SignalWaitTest : public ::testing::Test {
 protected:
  SignalWaitTest() { BlockStopSignals(); }
};

TEST_F(SignalWaitTest, GivesTheSignalThatCame) {
  for (const int number : {SIGTERM, SIGINT}) {
    kill(getpid(), number);
    EXPECT_EQ(AwaitStopSignal(), number);
  }
}

TEST_F(SignalWaitTest, KeepsASignalThatCameBeforeTheWait) {
  kill(getpid(), SIGTERM);
  EXPECT_EQ(AwaitStopSignal(3600), SIGTERM);
}

TEST_F(SignalWaitTest, IsZeroWhenNoneCame) {
  EXPECT_EQ(AwaitStopSignal(0), 0);
  EXPECT_EQ(AwaitStopSignal(0.002), 0);
}

TEST_F(SignalWaitTest, TakesASignalOnce) {
  kill(getpid(), SIGTERM);
  EXPECT_EQ(AwaitStopSignal(0), SIGTERM);
  EXPECT_EQ(AwaitStopSignal(0), 0);
}

TEST_F(SignalWaitTest, IgnoresABrokenPipe) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  close(ends[0]);
  EXPECT_EQ(write(ends[1], "x", 1), -1) << "and the process goes on";
  EXPECT_EQ(errno, EPIPE);
  close(ends[1]);
}

}  // namespace
}  // namespace fff::app
