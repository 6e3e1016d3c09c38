#include "server/serving/batching/batch_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "tests/unit/serving/test_servable.h"

namespace fff::serving {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<float> Rows(int64_t rows) {
  return std::vector<float>(static_cast<size_t>(rows));
}

class BatchQueueTest : public ::testing::Test {
 protected:
  TestTask& Push(BatchQueue& queue, int64_t rows,
                 Priority priority = Priority::kNormal) {
    TestTask& task = tasks_.emplace_back(Rows(rows));
    task.priority = priority;
    queue.Push(&task, nullptr);
    return task;
  }

  // The rows of each piece of the next batch; batch_ holds all of it.
  std::vector<int64_t> Pop(BatchQueue& queue) {
    return Pop(queue, queue.policy().max());
  }
  std::vector<int64_t> Pop(BatchQueue& queue, const engine::Extent& max) {
    queue.PopBatch(Clock::time_point(std::chrono::hours(1)), estimate_, max,
                   batch_);
    std::vector<int64_t> rows;
    for (const Piece& piece : batch_.pieces) rows.push_back(piece.rows);
    return rows;
  }

  ComputeEstimate estimate_;
  Batch batch_;
  std::deque<TestTask> tasks_;
};

TEST_F(BatchQueueTest, CountsTheRowsThatWait) {
  BatchQueue queue({8, {}}, 32);
  EXPECT_TRUE(queue.empty());
  Push(queue, 3);
  Push(queue, 7);
  EXPECT_FALSE(queue.empty());
  EXPECT_EQ(queue.admission(Priority::kNormal).queued.rows, 10);
  EXPECT_EQ(queue.admission(Priority::kNormal).max_queue.rows, 32);
  EXPECT_FALSE(queue.admission(Priority::kNormal).stopping);
  Pop(queue);
  EXPECT_EQ(queue.admission(Priority::kNormal).queued.rows, 7);
  Pop(queue);
  EXPECT_EQ(queue.admission(Priority::kNormal).queued.rows, 0);
  EXPECT_TRUE(queue.empty());
}

TEST_F(BatchQueueTest, GivesTasksInTheirOrderAndBatchesThatFit) {
  BatchQueue queue({8, {}}, 64);
  for (const int64_t rows : {1, 2, 5, 6, 20, 1, 1}) Push(queue, rows);
  EXPECT_THAT(Pop(queue), ElementsAre(1, 2, 5));
  EXPECT_THAT(Pop(queue), ElementsAre(6));
  EXPECT_THAT(Pop(queue), ElementsAre(8));  // the first batches of 20 rows
  EXPECT_THAT(Pop(queue), ElementsAre(8));
  EXPECT_THAT(Pop(queue), ElementsAre(4, 1, 1));
  EXPECT_TRUE(queue.empty());
}

TEST_F(BatchQueueTest, ClearsTheBatchItIsGiven) {
  BatchQueue queue({8, {}}, 64);
  Push(queue, 1);
  batch_.pieces.resize(5);
  batch_.dropped.resize(5);
  EXPECT_THAT(Pop(queue), ElementsAre(1));
  EXPECT_THAT(batch_.dropped, IsEmpty());
}

TEST_F(BatchQueueTest, CutsALargeTaskIntoPiecesThatFollowEachOther) {
  BatchQueue queue({8, {}}, 64);
  Push(queue, 20);
  int64_t next = 0;
  for (const int64_t rows : {8, 8, 4}) {
    EXPECT_EQ(queue.queued().rows, 20 - next);
    EXPECT_THAT(Pop(queue), ElementsAre(rows));
    EXPECT_EQ(batch_.pieces[0].first_row, next);
    next += rows;
  }
  EXPECT_TRUE(queue.empty());
}

TEST_F(BatchQueueTest, GivesAShareOfALargeTaskAndKeepsSmallOnesWhole) {
  BatchQueue queue({8, {}}, 64);
  Push(queue, 7);
  EXPECT_THAT(Pop(queue, 4), ElementsAre(4));
  EXPECT_EQ(batch_.pieces[0].first_row, 0);
  EXPECT_THAT(Pop(queue, 8), ElementsAre(3));
  EXPECT_EQ(batch_.pieces[0].first_row, 4);
  EXPECT_TRUE(queue.empty());
  Push(queue, 3);
  Push(queue, 2);
  EXPECT_THAT(Pop(queue, 4), ElementsAre(3));
  EXPECT_THAT(Pop(queue, 4), ElementsAre(2));
}

TEST_F(BatchQueueTest, ATaskThatOthersShareIsNotTooLateForOneAlone) {
  BatchQueue queue({8, {}}, 64);
  estimate_.Add(1, 1'000'000);
  const Clock::time_point soon =
      Clock::time_point(std::chrono::hours(1)) + std::chrono::milliseconds(5);
  Push(queue, 8).deadline = soon;
  EXPECT_THAT(Pop(queue, 4), ElementsAre(4));
  EXPECT_THAT(Pop(queue, 4), ElementsAre(4));
  EXPECT_TRUE(batch_.dropped.empty());
  Push(queue, 8).deadline = soon;
  EXPECT_THAT(Pop(queue, 8), ElementsAre());
  ASSERT_EQ(batch_.dropped.size(), 1u);
  EXPECT_EQ(batch_.dropped[0].fate, Fate::kTooLate);
}

TEST_F(BatchQueueTest, GivesHigherPrioritiesFirst) {
  BatchQueue queue({8, {}}, 64);
  Push(queue, 1, Priority::kLow);
  Push(queue, 2, Priority::kNormal);
  Push(queue, 3, Priority::kHigh);
  Push(queue, 4, Priority::kHigh);
  EXPECT_THAT(Pop(queue), ElementsAre(3, 4));  // 2 more do not fit
  EXPECT_THAT(Pop(queue), ElementsAre(2, 1));
}

TEST_F(BatchQueueTest, LowPriorityMayFillHalfOfIt) {
  BatchQueue queue({8, {}}, 64);
  EXPECT_EQ(queue.admission(Priority::kLow).max_queue.rows, 32);
  EXPECT_EQ(queue.admission(Priority::kHigh).max_queue.rows, 64);
}

TEST_F(BatchQueueTest, FillsABatchWithTasksThatAreStillWanted) {
  BatchQueue queue({4, {}}, 64);
  estimate_.Add(1, 1'000'000);
  for (int i = 0; i < 10; ++i) {
    TestTask& task = Push(queue, 1);
    if (i % 2 == 0) task.cancelled.store(true);
    if (i == 1) task.deadline = Clock::time_point(std::chrono::minutes(30));
    if (i == 3) {  // half a millisecond is left, a row takes one
      task.deadline = Clock::time_point(std::chrono::hours(1)) +
                      std::chrono::microseconds(500);
    }
  }
  EXPECT_THAT(Pop(queue), ElementsAre(1, 1, 1));
  std::vector<Fate> fates;
  for (const Batch::Dropped& dropped : batch_.dropped) {
    fates.push_back(dropped.fate);
  }
  EXPECT_THAT(fates,
              ElementsAre(Fate::kCancelled, Fate::kExpired, Fate::kCancelled,
                          Fate::kTooLate, Fate::kCancelled, Fate::kCancelled,
                          Fate::kCancelled));
  EXPECT_TRUE(queue.empty());
}

TEST_F(BatchQueueTest, DropsTheRestOfALargeTaskAtOnce) {
  BatchQueue queue({8, {}}, 64);
  TestTask& large = Push(queue, 30);
  Push(queue, 1);
  EXPECT_THAT(Pop(queue), ElementsAre(8));
  large.cancelled.store(true);
  EXPECT_THAT(Pop(queue), ElementsAre(1));
  ASSERT_EQ(batch_.dropped.size(), 1u);
  EXPECT_EQ(batch_.dropped[0].piece.first_row, 8);
  EXPECT_EQ(batch_.dropped[0].piece.rows, 22);
  EXPECT_TRUE(queue.empty());
}

TEST_F(BatchQueueTest, HoldsTheServableUntilItsTaskIsTaken) {
  BatchQueue queue({8, {}}, 64);
  auto servable = std::make_shared<const Servable>(Servable::Parts());
  const std::weak_ptr<const Servable> watched = servable;
  tasks_.emplace_back(Rows(1));
  queue.Push(&tasks_.back(), std::move(servable));
  EXPECT_FALSE(watched.expired());
  Pop(queue);
  EXPECT_FALSE(watched.expired());
  batch_.Clear();
  EXPECT_TRUE(watched.expired());
}

TEST_F(BatchQueueTest, IsDueAtOnceWithoutADelay) {
  BatchQueue queue({8, {}}, 64);
  Push(queue, 1);
  EXPECT_LE(queue.dispatch_time(), Clock::now());
}

TEST_F(BatchQueueTest, IsDueBeforeTheEarliestDeadlineOfItsTasks) {
  BatchQueue queue({8, std::chrono::hours(10)}, 64);
  Push(queue, 1);
  const Clock::time_point submitted;  // the task was never submitted
  EXPECT_EQ(queue.dispatch_time(), submitted + std::chrono::hours(10));
  tasks_.emplace_back(Rows(1));
  tasks_.back().deadline = submitted + std::chrono::hours(4);
  queue.Push(&tasks_.back(), nullptr);
  Push(queue, 1);
  EXPECT_EQ(queue.dispatch_time(), submitted + std::chrono::hours(2));
}

TEST_F(BatchQueueTest, ForgetsTheDeadlineOfATaskThatWasTaken) {
  BatchQueue queue({2, std::chrono::hours(10)}, 64);
  Push(queue, 1);
  tasks_.back().deadline = Clock::time_point(std::chrono::hours(4));
  Push(queue, 1);
  Push(queue, 1);
  tasks_.back().deadline = Clock::time_point(std::chrono::hours(8));
  EXPECT_THAT(Pop(queue), ElementsAre(1, 1));
  EXPECT_EQ(queue.dispatch_time(), Clock::time_point(std::chrono::hours(4)))
      << "half of the 8 hours of the task that is left";
  EXPECT_THAT(Pop(queue), ElementsAre(1));
  EXPECT_THAT(tasks_, ::testing::Not(IsEmpty()));
}

}  // namespace
}  // namespace fff::serving
