#include "server/serving/batch_queue.h"

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
  void Push(BatchQueue& queue, int64_t rows) {
    tasks_.emplace_back(Rows(rows));
    queue.Push({&tasks_.back(), nullptr});
  }

  static std::vector<int64_t> Pop(BatchQueue& queue) {
    std::vector<BatchQueue::Waiting> batch;
    queue.PopBatch(batch);
    std::vector<int64_t> rows;
    for (const auto& waiting : batch) rows.push_back(waiting.task->x.rows);
    return rows;
  }

  std::deque<TestTask> tasks_;
};

TEST_F(BatchQueueTest, CountsTheRowsThatWait) {
  BatchQueue queue({8, {}}, 32);
  EXPECT_TRUE(queue.empty());
  Push(queue, 3);
  Push(queue, 7);
  EXPECT_FALSE(queue.empty());
  EXPECT_EQ(queue.admission().queued_rows, 10);
  EXPECT_EQ(queue.admission().max_queue_rows, 32);
  EXPECT_FALSE(queue.admission().stopping);
  Pop(queue);
  EXPECT_EQ(queue.admission().queued_rows, 7);
  Pop(queue);
  EXPECT_EQ(queue.admission().queued_rows, 0);
  EXPECT_TRUE(queue.empty());
}

TEST_F(BatchQueueTest, GivesTasksInTheirOrderAndBatchesThatFit) {
  BatchQueue queue({8, {}}, 64);
  for (const int64_t rows : {1, 2, 5, 6, 20, 1, 1}) Push(queue, rows);
  EXPECT_THAT(Pop(queue), ElementsAre(1, 2, 5));
  EXPECT_THAT(Pop(queue), ElementsAre(6));
  EXPECT_THAT(Pop(queue), ElementsAre(20));
  EXPECT_THAT(Pop(queue), ElementsAre(1, 1));
  EXPECT_TRUE(queue.empty());
}

TEST_F(BatchQueueTest, ClearsTheBatchItIsGiven) {
  BatchQueue queue({8, {}}, 64);
  Push(queue, 1);
  std::vector<BatchQueue::Waiting> batch(5);
  queue.PopBatch(batch);
  EXPECT_EQ(batch.size(), 1u);
}

TEST_F(BatchQueueTest, HoldsTheServableUntilItsTaskIsTaken) {
  BatchQueue queue({8, {}}, 64);
  auto servable = std::make_shared<const Servable>(Servable::Parts());
  const std::weak_ptr<const Servable> watched = servable;
  tasks_.emplace_back(Rows(1));
  queue.Push({&tasks_.back(), std::move(servable)});
  EXPECT_FALSE(watched.expired());
  std::vector<BatchQueue::Waiting> batch;
  queue.PopBatch(batch);
  EXPECT_FALSE(watched.expired());
  batch.clear();
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
  queue.Push({&tasks_.back(), nullptr});
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
