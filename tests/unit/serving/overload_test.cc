#include <gtest/gtest.h>

#include <deque>

#include "server/serving/batching/retry_after.h"
#include "server/serving/batching/scheduler.h"
#include "tests/unit/serving/test_layer.h"
#include "tests/unit/serving/test_servable.h"

// Ten times as many requests as the server can compute: what it computes is
// still wanted, and its batches stay full. Counted in batches, not in seconds.
namespace fff::serving {
namespace {

constexpr int64_t kBatchRows = 10;
constexpr int kBatches = 40;

class OverloadTest : public ::testing::Test {
 protected:
  OverloadTest() {
    DoublingLayer::Options layer;
    layer.gate = &gate_;
    layer.log = &log_;
    ServableOptions options;
    options.batching.max_batch_rows = kBatchRows;
    options.batching.max_queue_rows = 4 * kBatchRows;
    servable_ = MakeServable(MakeModel(layer), options);
  }

  // For every batch that the worker finishes, ten arrive. `prepare` is told the
  // number of each task before it is submitted.
  template <class Prepare>
  void Run(Prepare prepare) {
    Scheduler scheduler(1);
    for (int batch = 0; batch < kBatches; ++batch) {
      for (int64_t i = 0; i < 10 * kBatchRows; ++i) {
        TestTask& task = tasks_.emplace_back(std::vector<float>{1});
        prepare(task, static_cast<int>(tasks_.size()));
        const absl::Status status = scheduler.Submit(servable_, &task);
        if (status.ok()) continue;
        ASSERT_TRUE(absl::IsResourceExhausted(status)) << status;
        ASSERT_TRUE(RetryAfter(status).has_value());
        ++refused_;
        tasks_.pop_back();
      }
      gate_.AwaitEntered(batch + 1);
      gate_.Admit(1);
    }
    gate_.Open();
    for (TestTask& task : tasks_) {
      if (task.Await().ok()) ++answered_;
    }
  }

  Gate gate_;
  RunLog log_;
  std::shared_ptr<const Servable> servable_;
  std::deque<TestTask> tasks_;
  int64_t answered_ = 0;
  int64_t refused_ = 0;
};

TEST_F(OverloadTest, GoodputStaysAtThePeak) {
  Run([](TestTask&, int) {});
  const auto batches = static_cast<int64_t>(log_.rows().size());
  EXPECT_GE(answered_, batches * kBatchRows * 9 / 10);
  EXPECT_GE(refused_, 10 * kBatchRows * kBatches * 8 / 10);
  EXPECT_EQ(servable_->metrics().rows.Value(),
            static_cast<uint64_t>(answered_));
}

// Callers that gave up fill the queue, and no batch.
TEST_F(OverloadTest, WhatNobodyWaitsForIsNotComputed) {
  Run([](TestTask& task, int number) {
    task.cancelled.store(number % 2 == 0);
  });
  const auto batches = static_cast<int64_t>(log_.rows().size());
  EXPECT_EQ(servable_->metrics().rows.Value(),
            static_cast<uint64_t>(answered_));
  EXPECT_GE(answered_, batches * kBatchRows * 9 / 10);
}

}  // namespace
}  // namespace fff::serving
