#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "server/serving/batching/scheduler.h"
#include "tests/unit/serving/test_layer.h"
#include "tests/unit/serving/test_servable.h"

// What a data race, a lost task or a use after free would show in, under the
// sanitizers.
namespace fff::serving {
namespace {

constexpr int kThreads = 4;
constexpr int kSubmits = 2000;

// Deletes itself in OnDone, as a call whose answer is its last act.
class SelfDeletingTask : public Task {
 public:
  SelfDeletingTask(float value, absl::BlockingCounter* done)
      : input_(value), done_(done) {
    inputs = {tensor::ConstRows{&input_, 1, 1}};
    y = {&output_, 1, 1};
  }
  void OnDone(const absl::Status& status) override {
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(output_, 2 * input_);
    absl::BlockingCounter* const done = done_;
    delete this;
    done->DecrementCount();
  }

 private:
  const float input_;
  float output_ = 0;
  absl::BlockingCounter* const done_;
};

// Submits itself again from OnDone, `rounds` times.
class RepeatingTask : public Task {
 public:
  RepeatingTask(Scheduler* scheduler, std::shared_ptr<const Servable> servable,
                int rounds)
      : scheduler_(scheduler), servable_(std::move(servable)), rounds_(rounds) {
    inputs = {tensor::ConstRows{&input_, 1, 1}};
    y = {&output_, 1, 1};
  }
  void OnDone(const absl::Status& status) override {
    EXPECT_TRUE(status.ok());
    if (--rounds_ == 0) {
      done_.Notify();
      return;
    }
    EXPECT_TRUE(scheduler_->Submit(servable_, this).ok());
  }
  void Await() { done_.WaitForNotification(); }

 private:
  Scheduler* const scheduler_;
  const std::shared_ptr<const Servable> servable_;
  int rounds_;
  const float input_ = 1;
  float output_ = 0;
  absl::Notification done_;
};

void OnThreads(int threads, const std::function<void(int)>& body) {
  std::vector<std::thread> running;
  running.reserve(static_cast<size_t>(threads));
  for (int t = 0; t < threads; ++t) running.emplace_back(body, t);
  for (std::thread& thread : running) thread.join();
}

std::shared_ptr<const Servable> Doubling(const std::string& name,
                                         int64_t max_batch_rows) {
  ServableOptions options;
  options.name = name;
  options.batching.max_batch_rows = max_batch_rows;
  return MakeServable(MakeModel({name, 1, {}, nullptr, nullptr}), options);
}

TEST(SchedulerStress, ATaskMayBeDestroyedInItsOnDone) {
  const auto servable = Doubling("m", 16);
  absl::BlockingCounter done(kThreads * kSubmits);
  Scheduler scheduler(2);
  OnThreads(kThreads, [&](int t) {
    for (int i = 0; i < kSubmits; ++i) {
      auto* task = new SelfDeletingTask(static_cast<float>(t + i), &done);
      ASSERT_TRUE(scheduler.Submit(servable, task).ok());
    }
  });
  done.Wait();
  EXPECT_EQ(servable->metrics().rows.Value(), uint64_t{kThreads} * kSubmits);
}

TEST(SchedulerStress, ATaskMaySubmitItselfAgainInOnDone) {
  const auto servable = Doubling("m", 16);
  Scheduler scheduler(2);
  std::deque<RepeatingTask> tasks;
  for (int i = 0; i < 8; ++i) tasks.emplace_back(&scheduler, servable, 500);
  for (RepeatingTask& task : tasks) {
    ASSERT_TRUE(scheduler.Submit(servable, &task).ok());
  }
  for (RepeatingTask& task : tasks) task.Await();
  EXPECT_EQ(servable->metrics().rows.Value(), 8u * 500);
}

TEST(SchedulerStress, EveryAcceptedTaskIsAnsweredOnceAndRight) {
  const std::vector<std::shared_ptr<const Servable>> servables = {
      Doubling("a", 8), Doubling("b", 64), Doubling("c", 1)};
  std::atomic<int> answered{0};
  std::atomic<int> dropped{0};
  {
    Scheduler scheduler(3);
    OnThreads(kThreads, [&](int t) {
      std::deque<TestTask> tasks;
      for (int i = 0; i < kSubmits; ++i) {
        const size_t n =
            static_cast<size_t>(t) * kSubmits + static_cast<size_t>(i);
        TestTask& task = tasks.emplace_back(
            std::vector<float>(1 + n % 3, static_cast<float>(n)));
        ASSERT_TRUE(scheduler.Submit(servables[n % 3], &task).ok());
        if (n % 7 == 0) task.cancelled.store(true);
      }
      for (TestTask& task : tasks) {
        const absl::Status& status = task.Await();
        if (!status.ok()) {
          EXPECT_TRUE(absl::IsCancelled(status));
          ++dropped;
          continue;
        }
        ++answered;
        for (size_t i = 0; i < task.output().size(); ++i) {
          EXPECT_EQ(task.output()[i], 2 * task.input()[i]);
        }
      }
    });
  }
  EXPECT_EQ(answered + dropped, kThreads * kSubmits);
  for (const auto& servable : servables) {
    EXPECT_EQ(servable->metrics().queue_rows.Value(), 0);
  }
}

TEST(SchedulerStress, StopWhileOthersSubmitLosesNoAcceptedTask) {
  for (int round = 0; round < 30; ++round) {
    const auto servable = Doubling("m", 4);
    Scheduler scheduler(2);
    std::atomic<int> refused{0};
    std::thread stopper;
    OnThreads(kThreads, [&](int t) {
      std::deque<TestTask> tasks;
      for (int i = 0; i < 100; ++i) {
        if (t == 0 && i == 50) {
          stopper = std::thread([&] { scheduler.Stop(); });
        }
        TestTask& task = tasks.emplace_back(std::vector<float>{1});
        const absl::Status status = scheduler.Submit(servable, &task);
        if (status.ok()) continue;
        EXPECT_TRUE(absl::IsUnavailable(status));
        ++refused;
        tasks.pop_back();
      }
      for (TestTask& task : tasks) EXPECT_TRUE(task.Await().ok());
    });
    stopper.join();
    EXPECT_EQ(servable->metrics().rows.Value(),
              static_cast<uint64_t>(kThreads * 100 - refused));
  }
}

}  // namespace
}  // namespace fff::serving
