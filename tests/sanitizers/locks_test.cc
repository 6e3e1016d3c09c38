// Data guarded by each kind of Abseil lock, in the ways the server uses them:
// the tsan preset must find nothing to report here (see tsan_absl.cc).
#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace fff {
namespace {

constexpr int kThreads = 4;
constexpr int kTurns = 200;

template <class Body>
void OnThreads(Body body) {
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int i = 0; i < kThreads; ++i) threads.emplace_back(body);
  for (std::thread& thread : threads) thread.join();
}

TEST(LocksTest, MutexGuardsWritersAndReaders) {
  absl::Mutex mutex;
  int value = 0;
  int tried = 0;
  OnThreads([&] {
    for (int i = 0; i < kTurns; ++i) {
      {
        absl::MutexLock lock(&mutex);
        ++value;
      }
      absl::ReaderMutexLock lock(&mutex);
      EXPECT_GT(value, 0);
    }
    if (mutex.TryLock()) {
      ++tried;
      mutex.Unlock();
    }
  });
  EXPECT_EQ(value, kThreads * kTurns);
}

TEST(LocksTest, AwaitSeesWhatTheUnlockerWrote) {
  absl::Mutex mutex;
  int turn = 0;
  int value = 0;
  const auto play = [&](int mine) {
    for (int i = 0; i < kTurns; ++i) {
      absl::MutexLock lock(&mutex);
      const auto my_turn = [&] { return turn % 2 == mine; };
      mutex.Await(absl::Condition(&my_turn));
      ++value;
      ++turn;
    }
  };
  std::thread other([&] { play(1); });
  play(0);
  other.join();
  EXPECT_EQ(value, 2 * kTurns);
}

TEST(LocksTest, CondVarHandsOver) {
  absl::Mutex mutex;
  absl::CondVar changed;
  std::vector<int> queue;
  int sum = 0;
  std::thread consumer([&] {
    for (int taken = 0; taken < kTurns; ++taken) {
      absl::MutexLock lock(&mutex);
      while (queue.empty()) changed.WaitWithTimeout(&mutex, absl::Hours(1));
      sum += queue.back();
      queue.pop_back();
    }
  });
  for (int i = 0; i < kTurns; ++i) {
    absl::MutexLock lock(&mutex);
    queue.push_back(1);
    changed.Signal();
  }
  consumer.join();
  EXPECT_EQ(sum, kTurns);
}

TEST(LocksTest, NotificationAndCounterPublish) {
  int first = 0;
  absl::Notification ready;
  absl::BlockingCounter done(kThreads);
  std::vector<int> results(kThreads);
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      ready.WaitForNotification();
      results[static_cast<size_t>(i)] = first + i;
      done.DecrementCount();
    });
  }
  first = 10;
  ready.Notify();
  done.Wait();
  for (int i = 0; i < kThreads; ++i) {
    EXPECT_EQ(results[static_cast<size_t>(i)], 10 + i);
  }
  for (std::thread& thread : threads) thread.join();
}

// The memory of a notification is free as soon as its waiter goes on, while
// Notify may still look at it under the lock that the destructor waits for.
TEST(LocksTest, NotificationMayGoWhileItNotifies) {
  for (int i = 0; i < kTurns; ++i) {
    auto done = std::make_unique<absl::Notification>();
    std::thread notifier([&done = *done] { done.Notify(); });
    done->WaitForNotification();
    EXPECT_TRUE(done->HasBeenNotified());  // so that our copy of it is used
    done.reset();
    notifier.join();
  }
}

}  // namespace
}  // namespace fff
