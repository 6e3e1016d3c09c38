// Batches of a network with several outputs: each request gets its rows of
// those that it wants, whatever its neighbours want.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "server/model/builder.h"
#include "server/serving/batching/batch_runner.h"
#include "server/serving/batching/scheduler.h"
#include "tests/unit/serving/test_servable.h"

namespace fff::serving {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::IsNan;

constexpr int64_t kScores = 3;

using Ids = std::vector<std::vector<int32_t>>;

graph::Op Columns(std::vector<float> w) {
  auto linear = std::make_shared<graph::DenseWeights>();
  linear->problem = {1, static_cast<int64_t>(w.size()),
                     graph::Activation::kIdentity, false};
  linear->w = tensor::FloatArray::CopyOf(w);
  return graph::Linear{{linear}};
}

// Ids to [id, -id, 10 id] per token, the main output; "hidden", the id itself
// per token; "sum", twice the greatest id of a sequence.
std::shared_ptr<const model::Model> ThreeOutputs() {
  auto table = std::make_shared<graph::EmbeddingWeights>();
  table->problem = {1, 1, 100};
  std::vector<float> numbers(100);
  std::iota(numbers.begin(), numbers.end(), 0.0F);
  table->table = tensor::FloatArray::CopyOf(numbers);
  auto pool = std::make_shared<graph::PoolTokensWeights>();
  pool->problem.input_width = 1;
  pool->problem.output_width = 1;
  pool->problem.over = graph::PoolTokensProblem::Over::kMax;
  graph::Port port = {"ids", tensor::DataType::kI64, {}};
  port.sequence = true;
  graph::GraphBuilder builder;
  const graph::ValueId ids = builder.AddInput(port);
  builder.BeginLayer({"all"});
  const graph::ValueId x = *builder.Add(graph::Embedding{{table}}, ids);
  const graph::ValueId y = *builder.Add(Columns({1, -1, 10}), x);
  const auto pooled = builder.Add(graph::PoolTokens{{pool}}, x);
  EXPECT_TRUE(pooled.ok()) << pooled.status();
  const graph::ValueId sum = *builder.Add(Columns({2}), *pooled);
  EXPECT_TRUE(
      builder.AddOutput({"scores", tensor::DataType::kF32, {}}, y).ok());
  EXPECT_TRUE(
      builder.AddOutput({"hidden", tensor::DataType::kF32, {}}, x).ok());
  EXPECT_TRUE(builder.AddOutput({"sum", tensor::DataType::kF32, {}}, sum).ok());
  auto model = model::BuildGraph(std::move(builder).Build(), {});
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

struct Wanted {
  bool scores = true;
  bool hidden = true;
  bool sum = true;
  int64_t top_k = 0;
};

class OutputsTask : public Task {
 public:
  explicit OutputsTask(const Ids& rows, Wanted wanted = {}) {
    for (const auto& row : rows)
      ids_.insert(ids_.end(), row.begin(), row.end());
    const auto count = static_cast<int64_t>(rows.size());
    tokens = static_cast<int64_t>(rows[0].size());
    inputs = {{tensor::DataType::kI32, ids_.data(), count, tokens}};
    top_k = wanted.top_k;
    const int64_t width = tokens * (top_k > 0 ? top_k : kScores);
    scores.assign(static_cast<size_t>(count * width), NAN);
    top.assign(scores.size(), -7);
    hidden.assign(ids_.size(), NAN);
    sum.assign(rows.size(), NAN);
    y = {wanted.scores ? scores.data() : nullptr, count, width};
    others.push_back({wanted.hidden ? hidden.data() : nullptr, count, tokens});
    others.push_back({wanted.sum ? sum.data() : nullptr, count, 1});
    if (top_k > 0) top_ids = top.data();
  }
  void OnDone(const absl::Status& status) override {
    EXPECT_TRUE(status.ok()) << status;
    done.Notify();
  }

  std::vector<float> scores;
  std::vector<float> hidden;
  std::vector<float> sum;
  std::vector<int64_t> top;
  absl::Notification done;

 private:
  std::vector<int32_t> ids_;
};

class SeveralOutputsTest : public ::testing::Test {
 protected:
  void Run(const std::vector<Piece>& pieces) {
    runner_.Run(*servable_, pieces);
  }
  void RunWhole(const std::vector<Task*>& tasks) {
    std::vector<Piece> pieces;
    for (Task* task : tasks) pieces.push_back({task, 0, task->rows()});
    Run(pieces);
  }

  std::shared_ptr<const Servable> servable_ = MakeServable(ThreeOutputs(), {});
  BatchRunner runner_{/*threads=*/1};
};

TEST_F(SeveralOutputsTest, OneRequestGetsAllInPlace) {
  OutputsTask task(Ids{{1, 5}, {4, 2}});
  RunWhole({&task});
  EXPECT_THAT(task.scores,
              ElementsAre(1, -1, 10, 5, -5, 50, 4, -4, 40, 2, -2, 20));
  EXPECT_THAT(task.hidden, ElementsAre(1, 5, 4, 2));
  EXPECT_THAT(task.sum, ElementsAre(10, 8));
}

TEST_F(SeveralOutputsTest, RequestsOfDifferentLengthsGetTheirOwnRows) {
  OutputsTask one(Ids{{7}});
  OutputsTask two(Ids{{1, 2, 3}, {6, 5, 4}});
  OutputsTask three(Ids{{8, 9}});
  RunWhole({&one, &two, &three});
  EXPECT_THAT(one.scores, ElementsAre(7, -7, 70));
  EXPECT_THAT(one.hidden, ElementsAre(7));
  EXPECT_THAT(one.sum, ElementsAre(14));
  EXPECT_THAT(two.hidden, ElementsAre(1, 2, 3, 6, 5, 4));
  EXPECT_THAT(two.sum, ElementsAre(6, 12));
  EXPECT_THAT(three.scores, ElementsAre(8, -8, 80, 9, -9, 90));
  EXPECT_THAT(three.sum, ElementsAre(18));
}

TEST_F(SeveralOutputsTest, WhatIsNotWantedIsNotWritten) {
  OutputsTask hidden(Ids{{1, 2}}, {false, true, false});
  OutputsTask scores(Ids{{3}}, {true, false, false});
  OutputsTask sum(Ids{{4, 9}}, {false, false, true});
  RunWhole({&hidden, &scores, &sum});
  EXPECT_THAT(hidden.hidden, ElementsAre(1, 2));
  EXPECT_THAT(hidden.scores, Each(IsNan()));
  EXPECT_THAT(hidden.sum, Each(IsNan()));
  EXPECT_THAT(scores.scores, ElementsAre(3, -3, 30));
  EXPECT_THAT(scores.hidden, Each(IsNan()));
  EXPECT_THAT(sum.sum, ElementsAre(18));
  // Alone, too, where others are written in place.
  OutputsTask alone(Ids{{5, 6}}, {false, false, true});
  RunWhole({&alone});
  EXPECT_THAT(alone.sum, ElementsAre(12));
  EXPECT_THAT(alone.scores, Each(IsNan()));
}

TEST_F(SeveralOutputsTest, TheStrongestColumnsAreOfTheMainOneAlone) {
  OutputsTask strongest(Ids{{1, 2}}, {true, true, true, 1});
  OutputsTask all(Ids{{3}});
  RunWhole({&strongest, &all});
  EXPECT_THAT(strongest.scores, ElementsAre(10, 20));
  EXPECT_THAT(strongest.top, ElementsAre(2, 2));
  EXPECT_THAT(strongest.hidden, ElementsAre(1, 2));
  EXPECT_THAT(strongest.sum, ElementsAre(4));
  EXPECT_THAT(all.scores, ElementsAre(3, -3, 30));
  EXPECT_THAT(all.sum, ElementsAre(6));
}

TEST_F(SeveralOutputsTest, PiecesOfATaskAreWrittenWhereTheyBelong) {
  OutputsTask task(Ids{{1, 2}, {30, 4}, {5, 60}});
  OutputsTask other(Ids{{8}});
  Run({{&other, 0, 1}, {&task, 2, 1}});
  Run({{&task, 0, 2}});
  EXPECT_THAT(task.hidden, ElementsAre(1, 2, 30, 4, 5, 60));
  EXPECT_THAT(task.sum, ElementsAre(4, 60, 120));
  EXPECT_THAT(other.sum, ElementsAre(16));
}

// Three batches of two rows, on several workers.
TEST(SeveralOutputsSchedulerTest, ALargeRequestIsSplit) {
  ServableOptions options;
  options.batching.max_batch_rows = 2;
  const auto servable = MakeServable(ThreeOutputs(), options);
  Scheduler scheduler(/*workers=*/3);
  OutputsTask task(Ids{{1, 2}, {3, 4}, {5, 6}, {7, 8}, {9, 10}});
  ASSERT_TRUE(scheduler.Submit(servable, &task).ok());
  task.done.WaitForNotification();
  EXPECT_THAT(task.hidden, ElementsAreArray({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
  EXPECT_THAT(task.sum, ElementsAre(4, 8, 12, 16, 20));
  EXPECT_EQ(task.scores[29], 100);
  EXPECT_EQ(task.timing.batch_rows, 2);
}

}  // namespace
}  // namespace fff::serving
