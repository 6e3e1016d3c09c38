#include "server/serving/batching/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <thread>

#include "absl/strings/str_cat.h"
#include "server/serving/batching/retry_after.h"
#include "tests/unit/serving/test_layer.h"
#include "tests/unit/serving/test_servable.h"

namespace fff::serving {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<float> Rows(int64_t rows, float value = 1) {
  return std::vector<float>(static_cast<size_t>(rows), value);
}

// One worker and a model that waits at a gate: what is submitted while the
// first batch stands there has to wait.
class SchedulerTest : public ::testing::Test {
 protected:
  std::shared_ptr<const Servable> GatedServable(
      const ServableOptions& options = {}) {
    DoublingLayer::Options layer;
    layer.name = options.name;
    layer.gate = &gate_;
    layer.log = &log_;
    return MakeServable(MakeModel(layer), options);
  }

  std::shared_ptr<const Servable> LoggedServable(const std::string& name,
                                                 int64_t max_batch_rows) {
    ServableOptions options;
    options.name = name;
    options.batching.max_batch_rows = max_batch_rows;
    return MakeServable(MakeModel({name, 1, {}, nullptr, &log_}), options);
  }

  // Remembers the thread that told it.
  class InlineProbe : public TestTask {
   public:
    using TestTask::TestTask;
    void OnDone(const absl::Status& status) override {
      thread = std::this_thread::get_id();
      TestTask::OnDone(status);
    }
    std::thread::id thread;
  };

  // Submits a task of `rows` rows; the tasks live as long as the test.
  TestTask& Submit(Scheduler& scheduler,
                   const std::shared_ptr<const Servable>& servable,
                   int64_t rows, float value = 1) {
    TestTask& task = tasks_.emplace_back(Rows(rows, value));
    EXPECT_EQ(scheduler.Submit(servable, &task), absl::OkStatus());
    return task;
  }

  Gate gate_;
  RunLog log_;
  std::deque<TestTask> tasks_;
};

TEST_F(SchedulerTest, HasAtLeastOneWorker) {
  const Scheduler none(0);
  EXPECT_EQ(none.workers(), 1);
  const Scheduler three(3);
  EXPECT_EQ(three.workers(), 3);
}

TEST_F(SchedulerTest, RunsARequestAloneWhenAWorkerIsFree) {
  const auto servable = MakeServable(MakeModel({"m", 2, {}, nullptr, &log_}));
  Scheduler scheduler(1);
  TestTask task({1, 2, 3, 4}, /*width=*/2);
  ASSERT_TRUE(scheduler.Submit(servable, &task).ok());
  EXPECT_EQ(task.Await(), absl::OkStatus());
  EXPECT_THAT(task.output(), ElementsAre(2, 4, 6, 8));
  EXPECT_EQ(task.timing.batch_rows, 2);
  EXPECT_GE(task.timing.queue_ns, 0);
  EXPECT_GE(task.timing.compute_ns, 0);
  EXPECT_THAT(log_.rows(), ElementsAre(2));
}

TEST_F(SchedulerTest, FormsBatchesOnlyWhileTheWorkerIsBusy) {
  const auto servable = GatedServable();
  Scheduler scheduler(1);
  TestTask& first = Submit(scheduler, servable, 1, 10);
  gate_.AwaitEntered(1);
  TestTask& second = Submit(scheduler, servable, 2, 20);
  TestTask& third = Submit(scheduler, servable, 1, 30);
  gate_.Open();
  EXPECT_TRUE(first.Await().ok());
  EXPECT_TRUE(second.Await().ok());
  EXPECT_TRUE(third.Await().ok());
  EXPECT_THAT(log_.rows(), ElementsAre(1, 3));
  EXPECT_THAT(first.output(), ElementsAre(20));
  EXPECT_THAT(second.output(), ElementsAre(40, 40));
  EXPECT_THAT(third.output(), ElementsAre(60));
  EXPECT_EQ(second.timing.batch_rows, 3);
  EXPECT_EQ(third.timing.batch_rows, 3);
}

TEST_F(SchedulerTest, RunsAsManyBatchesAtOnceAsItHasWorkers) {
  const auto servable = GatedServable();
  Scheduler scheduler(2);
  TestTask& first = Submit(scheduler, servable, 1);
  gate_.AwaitEntered(1);
  TestTask& second = Submit(scheduler, servable, 1);
  gate_.AwaitEntered(2);  // both are inside
  gate_.Open();
  EXPECT_TRUE(first.Await().ok());
  EXPECT_TRUE(second.Await().ok());
}

TEST_F(SchedulerTest, CutsARequestAboveTheBatchBoundIntoBatches) {
  ServableOptions options;
  options.batching.max_batch_rows = 4;
  const auto servable = GatedServable(options);
  Scheduler scheduler(1);
  Submit(scheduler, servable, 1);
  gate_.AwaitEntered(1);
  for (const int64_t rows : {1, 10, 1, 2, 2}) {
    Submit(scheduler, servable, rows, static_cast<float>(rows));
  }
  gate_.Open();
  for (TestTask& task : tasks_) {
    EXPECT_TRUE(task.Await().ok());
    EXPECT_THAT(task.output(), Each(2 * task.input()[0]));
  }
  EXPECT_THAT(log_.rows(), ElementsAre(1, 1, 4, 4, 3, 4));
  const TestTask& cut = tasks_[2];
  EXPECT_EQ(cut.timing.batch_rows, 4);
  EXPECT_GT(cut.timing.compute_ns, 0);
  EXPECT_GT(cut.timing.queue_ns, 0);
}

TEST_F(SchedulerTest, SeveralWorkersShareALargeRequest) {
  ServableOptions options;
  options.batching.max_batch_rows = 2;
  const auto servable = GatedServable(options);
  Scheduler scheduler(3);
  TestTask& task = Submit(scheduler, servable, 6);
  gate_.AwaitEntered(3);  // all of them are inside at once
  gate_.Open();
  EXPECT_TRUE(task.Await().ok());
  EXPECT_THAT(task.output(), Each(2));
}

TEST_F(SchedulerTest, IdleWorkersShareARequestThatTakesLong) {
  const auto servable = GatedServable();
  servable->estimate().Add(96, 30'000'000);
  Scheduler scheduler(2);
  while (scheduler.idle_workers() < 2) std::this_thread::yield();
  TestTask& task = Submit(scheduler, servable, 96);
  gate_.AwaitEntered(2);  // both are inside at once
  gate_.Open();
  EXPECT_TRUE(task.Await().ok());
  EXPECT_THAT(task.output(), Each(2));
  EXPECT_THAT(log_.rows(), ElementsAre(48, 48));
  EXPECT_EQ(task.timing.batch_rows, 48);
}

TEST_F(SchedulerTest, OneOfManyWorkersStaysFreeForWhatIsShort) {
  const auto large = GatedServable();
  large->estimate().Add(960, 300'000'000);
  const auto other = LoggedServable("other", 1);
  Scheduler scheduler(4);
  while (scheduler.idle_workers() < 4) std::this_thread::yield();
  TestTask& shared = Submit(scheduler, large, 960);
  gate_.AwaitEntered(3);
  TestTask& brief = Submit(scheduler, other, 1);
  EXPECT_TRUE(brief.Await().ok());  // while the three still stand at the gate
  gate_.Open();
  EXPECT_TRUE(shared.Await().ok());
  EXPECT_THAT(log_.rows(), testing::UnorderedElementsAre(1, 320, 320, 320));
}

TEST_F(SchedulerTest, ALargeRequestThatIsCancelledIsAnsweredOnce) {
  ServableOptions options;
  options.batching.max_batch_rows = 2;
  const auto servable = GatedServable(options);
  Scheduler scheduler(1);
  TestTask& task = Submit(scheduler, servable, 20);
  gate_.AwaitEntered(1);
  task.cancelled.store(true);
  gate_.Open();
  EXPECT_EQ(task.Await(),
            absl::CancelledError("cancelled before all rows were computed"));
  scheduler.Stop();
  EXPECT_THAT(log_.rows(), ElementsAre(2));
  EXPECT_EQ(servable->metrics().queue_rows.Value(), 0);
}

TEST_F(SchedulerTest, HigherPrioritiesGoFirst) {
  ServableOptions options;
  options.batching.max_batch_rows = 1;
  const auto servable = GatedServable(options);
  Scheduler scheduler(1);
  Submit(scheduler, servable, 1);
  gate_.AwaitEntered(1);
  for (const Priority priority :
       {Priority::kLow, Priority::kNormal, Priority::kHigh}) {
    TestTask& task = tasks_.emplace_back(Rows(1));
    task.priority = priority;
    EXPECT_TRUE(scheduler.Submit(servable, &task).ok());
  }
  gate_.Admit(2);
  EXPECT_TRUE(tasks_[3].Await().ok());
  EXPECT_FALSE(tasks_[1].done());
  gate_.Admit(1);
  EXPECT_TRUE(tasks_[2].Await().ok());
  EXPECT_FALSE(tasks_[1].done());
  gate_.Open();
  EXPECT_TRUE(tasks_[1].Await().ok());
}

TEST_F(SchedulerTest, RunsASmallTaskOnTheSubmittersThread) {
  const auto servable = MakeServable(MakeModel({"m", 1, {}, nullptr, &log_}));
  servable->estimate().Add(1, 1000);
  Scheduler scheduler(1);
  BatchRunner runner(1);
  while (scheduler.idle_workers() < 1) std::this_thread::yield();
  InlineProbe probe({21});
  ASSERT_TRUE(scheduler.Submit(servable, &probe, {&runner, true}).ok());
  ASSERT_TRUE(probe.Await().ok());
  EXPECT_THAT(probe.output(), ElementsAre(42));
  EXPECT_EQ(probe.thread, std::this_thread::get_id());
  EXPECT_EQ(probe.timing.queue_ns, 0);
  EXPECT_EQ(probe.timing.batch_rows, 1);
}

TEST_F(SchedulerTest, ABusyWorkerMeansTheQueue) {
  const auto blocker = GatedServable();
  const auto servable = MakeServable(MakeModel({"m", 1, {}, nullptr, &log_}));
  servable->estimate().Add(1, 1000);
  Scheduler scheduler(1);
  BatchRunner runner(1);
  Submit(scheduler, blocker, 1);
  gate_.AwaitEntered(1);
  InlineProbe probe({1});
  ASSERT_TRUE(scheduler.Submit(servable, &probe, {&runner, false}).ok());
  EXPECT_FALSE(probe.done());
  gate_.Open();
  EXPECT_TRUE(probe.Await().ok());
  EXPECT_NE(probe.thread, std::this_thread::get_id());
  EXPECT_TRUE(tasks_[0].Await().ok());
}

TEST_F(SchedulerTest, LongTasksAreLeftToTheWorkers) {
  Scheduler scheduler(1);
  BatchRunner runner(1);
  for (const bool known : {false, true}) {
    const auto servable = LoggedServable("m", 64);
    if (known) servable->estimate().Add(1, 1'000'000'000);
    InlineProbe probe({1});
    ASSERT_TRUE(scheduler.Submit(servable, &probe, {&runner, false}).ok());
    EXPECT_TRUE(probe.Await().ok());
    EXPECT_NE(probe.thread, std::this_thread::get_id());
  }
}

TEST_F(SchedulerTest, RefusesInlineTasksOnceStopped) {
  const auto servable = MakeServable(MakeModel({"m", 1, {}, nullptr, &log_}));
  servable->estimate().Add(1, 1000);
  Scheduler scheduler(1);
  scheduler.Stop();
  BatchRunner runner(1);
  TestTask task({1});
  EXPECT_TRUE(
      absl::IsUnavailable(scheduler.Submit(servable, &task, {&runner, false})));
  EXPECT_FALSE(task.done());
}

TEST_F(SchedulerTest, RefusesWhatTheQueueCannotHold) {
  ServableOptions options;
  options.version = 3;
  options.batching.max_queue_rows = 4;
  const auto servable = GatedServable(options);
  Scheduler scheduler(1);
  Submit(scheduler, servable, 100);  // an empty queue takes it
  gate_.AwaitEntered(1);
  Submit(scheduler, servable, 3);
  TestTask refused(Rows(2));
  const absl::Status full = scheduler.Submit(servable, &refused);
  EXPECT_TRUE(absl::IsResourceExhausted(full));
  EXPECT_EQ(full.message(),
            "model 'm' version 3: the queue is full: 3 rows wait, the "
            "request has 2, max_queue_rows is 4; retry later");
  EXPECT_GE(RetryAfter(full), std::chrono::milliseconds(1));
  Submit(scheduler, servable, 1);
  gate_.Open();
  for (TestTask& task : tasks_) EXPECT_TRUE(task.Await().ok());
  scheduler.Stop();
  EXPECT_FALSE(refused.done());
  EXPECT_EQ(servable->metrics().queue_rows.Value(), 0);
}

TEST_F(SchedulerTest, AFullQueueHoldsUpNoOtherModel) {
  ServableOptions options;
  options.batching.max_queue_rows = 1;
  const auto full = GatedServable(options);
  options.name = "other";
  const auto other = GatedServable(options);
  Scheduler scheduler(1);
  Submit(scheduler, full, 1);
  gate_.AwaitEntered(1);
  Submit(scheduler, full, 1);
  TestTask refused(Rows(1));
  EXPECT_FALSE(scheduler.Submit(full, &refused).ok());
  Submit(scheduler, other, 1);
  gate_.Open();
  for (TestTask& task : tasks_) EXPECT_TRUE(task.Await().ok());
}

TEST_F(SchedulerTest, DropsACancelledTaskBeforeItIsComputed) {
  const auto servable = GatedServable();
  Scheduler scheduler(1);
  Submit(scheduler, servable, 1);
  gate_.AwaitEntered(1);
  TestTask& cancelled = Submit(scheduler, servable, 5);
  TestTask& kept = Submit(scheduler, servable, 2, 7);
  cancelled.cancelled.store(true);
  gate_.Open();
  EXPECT_EQ(
      cancelled.Await(),
      absl::CancelledError("cancelled while waiting; nothing was computed"));
  EXPECT_TRUE(kept.Await().ok());
  EXPECT_THAT(log_.rows(), ElementsAre(1, 2));
  EXPECT_THAT(kept.output(), ElementsAre(14, 14));
  EXPECT_EQ(kept.timing.batch_rows, 2);
}

TEST_F(SchedulerTest, RunsNothingForABatchOfCancelledTasks) {
  const auto servable = GatedServable();
  Scheduler scheduler(1);
  Submit(scheduler, servable, 1);
  gate_.AwaitEntered(1);
  for (int i = 0; i < 3; ++i) {
    Submit(scheduler, servable, 1).cancelled.store(true);
  }
  gate_.Open();
  scheduler.Stop();
  for (size_t i = 1; i < tasks_.size(); ++i) {
    EXPECT_EQ(tasks_[i].Await().code(), absl::StatusCode::kCancelled);
  }
  EXPECT_THAT(log_.rows(), ElementsAre(1));
}

TEST_F(SchedulerTest, DropsATaskWhoseDeadlinePassedWhileItWaited) {
  const auto servable = GatedServable();
  Scheduler scheduler(1);
  Submit(scheduler, servable, 1);
  gate_.AwaitEntered(1);
  TestTask& late = Submit(scheduler, servable, 5);
  Submit(scheduler, servable, 2);
  // As if its deadline had passed by now: the worker stands at the gate.
  late.deadline = Clock::now();
  gate_.Open();
  EXPECT_EQ(late.Await(),
            absl::DeadlineExceededError(
                "the deadline passed while waiting; nothing was computed"));
  scheduler.Stop();
  EXPECT_THAT(log_.rows(), ElementsAre(1, 2));
  EXPECT_EQ(servable->metrics().rows.Value(), 3u);
}

TEST_F(SchedulerTest, RefusesATaskWhoseDeadlineHasPassed) {
  const auto servable = MakeServable(MakeModel({"m", 1, {}, nullptr, &log_}));
  Scheduler scheduler(1);
  TestTask task(Rows(1));
  task.deadline = Clock::now() - std::chrono::seconds(1);
  EXPECT_EQ(scheduler.Submit(servable, &task),
            absl::DeadlineExceededError(
                "model 'm' version 1: the deadline had passed when the request "
                "arrived; nothing was computed"));
  scheduler.Stop();
  EXPECT_FALSE(task.done());
  EXPECT_THAT(log_.rows(), IsEmpty());
}

// The figures are so large that what the batches really take does not count.
TEST_F(SchedulerTest, ServesModelsInTurn) {
  const auto busy = LoggedServable("busy", 1);
  const auto quiet = LoggedServable("quiet", 1);
  busy->estimate().Add(1, 1'000'000'000);
  quiet->estimate().Add(1, 1'000'000'000);
  const auto blocker = GatedServable();
  Scheduler scheduler(1);
  Submit(scheduler, blocker, 1);
  gate_.AwaitEntered(1);
  for (int i = 0; i < 3; ++i) Submit(scheduler, busy, 1);
  for (int i = 0; i < 2; ++i) Submit(scheduler, quiet, 1);
  gate_.Open();
  for (TestTask& task : tasks_) EXPECT_TRUE(task.Await().ok());
  EXPECT_THAT(log_.layers(),
              ElementsAre("m", "busy", "quiet", "busy", "quiet", "busy"));
}

TEST_F(SchedulerTest, ModelsShareTheTimeNotTheTurns) {
  const auto dense = LoggedServable("dense", 1);
  const auto fff = LoggedServable("fff", 1);
  dense->estimate().Add(1, 1'000'000'000);
  fff->estimate().Add(1, 1'000'000);
  const auto blocker = GatedServable();
  Scheduler scheduler(1);
  Submit(scheduler, blocker, 1);
  gate_.AwaitEntered(1);
  for (int i = 0; i < 3; ++i) Submit(scheduler, dense, 1);
  for (int i = 0; i < 5; ++i) Submit(scheduler, fff, 1);
  gate_.Open();
  for (TestTask& task : tasks_) EXPECT_TRUE(task.Await().ok());
  EXPECT_THAT(log_.layers(), ElementsAre("m", "dense", "fff", "fff", "fff",
                                         "fff", "fff", "dense", "dense"));
}

TEST_F(SchedulerTest, AnIdleModelSavesUpNoClaim) {
  const auto busy = LoggedServable("busy", 1);
  const auto idle = LoggedServable("idle", 1);
  const auto blocker = GatedServable();
  Scheduler scheduler(1);
  for (int i = 0; i < 50; ++i) Submit(scheduler, busy, 1).Await();
  busy->estimate().Add(1, int64_t{1} << 40);
  idle->estimate().Add(1, int64_t{1} << 40);
  Submit(scheduler, blocker, 1);
  gate_.AwaitEntered(1);
  for (int i = 0; i < 2; ++i) Submit(scheduler, busy, 1);
  for (int i = 0; i < 2; ++i) Submit(scheduler, idle, 1);
  gate_.Open();
  for (TestTask& task : tasks_) EXPECT_TRUE(task.Await().ok());
  const std::vector<std::string> layers = log_.layers();
  const std::vector<std::string> last(layers.end() - 4, layers.end());
  EXPECT_NE(last[0], last[1]);
  EXPECT_NE(last[2], last[3]);
}

TEST_F(SchedulerTest, NeverMixesModelsInABatch) {
  ServableOptions options;
  options.name = "a";
  const auto a = GatedServable(options);
  options.implementation = Implementation::kDense;
  const auto twin = GatedServable(options);
  Scheduler scheduler(1);
  Submit(scheduler, a, 1);
  gate_.AwaitEntered(1);
  Submit(scheduler, a, 1);
  Submit(scheduler, twin, 1);
  Submit(scheduler, a, 1);
  Submit(scheduler, twin, 1);
  gate_.Open();
  for (TestTask& task : tasks_) EXPECT_TRUE(task.Await().ok());
  EXPECT_THAT(log_.rows(), ElementsAre(1, 2, 2));
}

// An hour is longer than any test waits: only a full batch ends the wait.
TEST_F(SchedulerTest, WaitsForAFullBatchWhenAQueueDelayIsSet) {
  ServableOptions options;
  options.batching.max_queue_delay_us = int64_t{3600} * 1'000'000;
  options.batching.max_batch_rows = 3;
  const auto servable = GatedServable(options);
  gate_.Open();
  Scheduler scheduler(2);
  for (int i = 0; i < 3; ++i) Submit(scheduler, servable, 1);
  for (TestTask& task : tasks_) EXPECT_TRUE(task.Await().ok());
  EXPECT_THAT(log_.rows(), ElementsAre(3));
}

TEST_F(SchedulerTest, AQueueDelayHoldsUpNoOtherModel) {
  ServableOptions options;
  options.batching.max_queue_delay_us = int64_t{3600} * 1'000'000;
  const auto patient = GatedServable(options);
  options.batching.max_queue_delay_us = 0;
  options.name = "prompt";
  const auto prompt = GatedServable(options);
  gate_.Open();
  Scheduler scheduler(1);
  TestTask& waiting = Submit(scheduler, patient, 1);
  EXPECT_TRUE(Submit(scheduler, prompt, 1).Await().ok());
  EXPECT_FALSE(waiting.done());
  scheduler.Stop();
  EXPECT_TRUE(waiting.Await().ok());
}

// The delay of an hour would end the test by its timeout. On a machine that
// stands still for half the deadline the task may be dropped, never forgotten.
TEST_F(SchedulerTest, ADeadlineEndsTheQueueDelay) {
  ServableOptions options;
  options.batching.max_queue_delay_us = int64_t{3600} * 1'000'000;
  const auto servable = GatedServable(options);
  gate_.Open();
  Scheduler scheduler(1);
  TestTask task(Rows(1));
  task.deadline = Clock::now() + std::chrono::milliseconds(200);
  const absl::Status submitted = scheduler.Submit(servable, &task);
  if (submitted.ok()) {
    EXPECT_TRUE(task.Await().ok() || absl::IsDeadlineExceeded(task.Await()));
  } else {
    EXPECT_TRUE(absl::IsDeadlineExceeded(submitted));
  }
}

TEST_F(SchedulerTest, StopFinishesWhatWaitsAndRefusesNewTasks) {
  const auto servable = GatedServable();
  Scheduler scheduler(1);
  Submit(scheduler, servable, 1);
  gate_.AwaitEntered(1);
  std::thread stopper([&] { scheduler.Stop(); });
  absl::Status status;
  while (status.ok()) {
    status = scheduler.Submit(servable, &tasks_.emplace_back(Rows(1)));
    std::this_thread::yield();
  }
  EXPECT_EQ(status, absl::UnavailableError(
                        "model 'm' version 1: the server is shutting down"));
  gate_.Open();
  stopper.join();
  EXPECT_FALSE(tasks_.back().done());
  tasks_.pop_back();
  for (TestTask& task : tasks_) EXPECT_TRUE(task.Await().ok());
}

TEST_F(SchedulerTest, StopDoesNotWaitOutAQueueDelay) {
  ServableOptions options;
  options.batching.max_queue_delay_us = int64_t{3600} * 1'000'000;
  const auto servable = GatedServable(options);
  gate_.Open();
  Scheduler scheduler(1);
  TestTask& task = Submit(scheduler, servable, 1);
  scheduler.Stop();
  EXPECT_TRUE(task.Await().ok());
}

TEST_F(SchedulerTest, MayBeStoppedTwiceAndByItsDestructor) {
  TestTask task(Rows(1));
  {
    const auto servable = MakeServable(MakeModel({"m", 1, {}, {}, {}}));
    Scheduler scheduler(2);
    ASSERT_TRUE(scheduler.Submit(servable, &task).ok());
    scheduler.Stop();
    scheduler.Stop();
  }
  EXPECT_TRUE(task.done());
}

// An unload must not pull a model away below a request that waits.
TEST_F(SchedulerTest, KeepsAServableUntilItsTasksAreDoneAndNoLonger) {
  auto servable = GatedServable();
  const std::weak_ptr<const Servable> watched = servable;
  Scheduler scheduler(1);
  Submit(scheduler, servable, 1);
  gate_.AwaitEntered(1);
  Submit(scheduler, servable, 1);
  servable.reset();
  EXPECT_FALSE(watched.expired());
  gate_.Open();
  scheduler.Stop();
  for (TestTask& task : tasks_) EXPECT_TRUE(task.Await().ok());
  EXPECT_TRUE(watched.expired());
}

TEST_F(SchedulerTest, QueuesGoSomeTimeAfterTheirServables) {
  Scheduler scheduler(1);
  for (int i = 0; i < 100; ++i) {
    const auto servable = LoggedServable(absl::StrCat("m", i), 8);
    Submit(scheduler, servable, 1).Await();
    Submit(scheduler, servable, 1).Await();
    EXPECT_LE(scheduler.queues(), 2u) << "this one's and that of the last";
  }
}

TEST_F(SchedulerTest, RecordsWhatItDid) {
  const auto servable = GatedServable();
  Scheduler scheduler(1);
  Submit(scheduler, servable, 1);
  gate_.AwaitEntered(1);
  Submit(scheduler, servable, 2);
  Submit(scheduler, servable, 3);
  Submit(scheduler, servable, 9).cancelled.store(true);
  metrics::ModelMetrics& metrics = servable->metrics();
  EXPECT_EQ(metrics.queue_rows.Value(), 14);
  gate_.Open();
  scheduler.Stop();
  EXPECT_EQ(metrics.queue_rows.Value(), 0);
  EXPECT_EQ(metrics.rows.Value(), 6u);
  EXPECT_EQ(metrics.batch_rows.Snapshot().count, 2u);
  EXPECT_EQ(metrics.batch_rows.Snapshot().sum, 6u);
  EXPECT_EQ(metrics.compute_duration.Snapshot().count, 2u);
  EXPECT_EQ(metrics.queue_duration.Snapshot().count, 4u);
}

}  // namespace
}  // namespace fff::serving
