#include "server/app/signals.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "absl/synchronization/notification.h"

namespace fff::app {
namespace {

// The signals are blocked for the rest of this process; each test takes those
// that it sent.
class SignalsTest : public ::testing::Test {
 protected:
  SignalsTest() { BlockSignals(); }

  static void DoNothing() {}
};

TEST_F(SignalsTest, EitherStopSignalEndsTheWait) {
  SignalThread signals(DoNothing, DoNothing);
  for (const int number : {SIGTERM, SIGINT}) {
    kill(getpid(), number);
    signals.AwaitStop();
  }
  EXPECT_FALSE(signals.AwaitStop(absl::ZeroDuration()));
}

TEST_F(SignalsTest, KeepASignalThatCameBeforeTheThread) {
  kill(getpid(), SIGTERM);
  SignalThread signals(DoNothing, DoNothing);
  EXPECT_TRUE(signals.AwaitStop(absl::Hours(1)));
}

TEST_F(SignalsTest, TellsWhenNoneCame) {
  SignalThread signals(DoNothing, DoNothing);
  EXPECT_FALSE(signals.AwaitStop(absl::ZeroDuration()));
  EXPECT_FALSE(signals.AwaitStop(absl::Milliseconds(2)));
}

TEST_F(SignalsTest, HangupIsHandledAndStopsNothing) {
  absl::Notification handled;
  SignalThread signals([&] { handled.Notify(); }, DoNothing);
  kill(getpid(), SIGHUP);
  handled.WaitForNotification();
  EXPECT_FALSE(signals.AwaitStop(absl::ZeroDuration()));
}

TEST_F(SignalsTest, AStopIsHandledBeforeTheWaitForItEnds) {
  std::atomic<int> stops{0};
  SignalThread signals(DoNothing, [&] { ++stops; });
  for (const int number : {SIGTERM, SIGINT}) {
    kill(getpid(), number);
    signals.AwaitStop();
  }
  EXPECT_EQ(stops.load(), 2);
}

TEST_F(SignalsTest, EndsWithoutHandlingAnything) {
  std::atomic<int> handled{0};
  {
    const SignalThread signals([&] { ++handled; }, [&] { ++handled; });
  }
  EXPECT_EQ(handled.load(), 0);
}

TEST_F(SignalsTest, OfUsersDoNoHarm) {
  kill(getpid(), SIGUSR1);
  kill(getpid(), SIGUSR2);
}

TEST_F(SignalsTest, IgnoresABrokenPipe) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  close(ends[0]);
  EXPECT_EQ(write(ends[1], "x", 1), -1) << "and the process goes on";
  EXPECT_EQ(errno, EPIPE);
  close(ends[1]);
}

}  // namespace
}  // namespace fff::app
