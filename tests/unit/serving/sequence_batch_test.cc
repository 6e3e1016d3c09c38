// Batches of sequences of several lengths: what is gathered, computed and given
// back, on a network of an embedding, an FFF layer over its tokens and a mean
// over those that a mask leaves in.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <numeric>

#include "server/model/builder.h"
#include "server/serving/batching/batch_queue.h"
#include "server/serving/batching/batch_runner.h"
#include "server/serving/batching/scheduler.h"
#include "tests/unit/serving/test_servable.h"

namespace fff::serving {
namespace {

using ::testing::ElementsAre;

constexpr int64_t kVocabulary = 100;

using Ids = std::vector<std::vector<int32_t>>;

tensor::FloatArray Floats(const std::vector<float>& values) {
  return tensor::FloatArray::CopyOf(values);
}

// id -> id (its only column).
graph::Op Numbers() {
  auto weights = std::make_shared<graph::EmbeddingWeights>();
  weights->problem = {1, 1, kVocabulary};
  std::vector<float> table(kVocabulary);
  std::iota(table.begin(), table.end(), 0.0F);
  weights->table = Floats(table);
  return graph::Embedding{{std::move(weights)}};
}

// One tree of two levels: x goes right at its root when it is above 9.5, and
// stays x (the root passes it on, its children add nothing).
graph::Op Tree() {
  auto weights = std::make_shared<graph::PathWeights>();
  graph::PathProblem& p = weights->problem;
  p.input_width = 1;
  p.output_width = 1;
  p.trees = 1;
  p.levels = 2;
  p.activation = graph::Activation::kIdentity;
  p.has_bias = true;
  weights->x = Floats({1, 0, 0});
  weights->bias = Floats({-9.5F, 9.5F, 9.5F});
  weights->y = Floats({1, 1, 1});
  return graph::FffPath{{std::move(weights)}, {}};
}

graph::Op MaskedMean() {
  auto weights = std::make_shared<graph::PoolTokensWeights>();
  weights->problem.input_width = 1;
  weights->problem.output_width = 1;
  weights->problem.masked = true;
  return graph::PoolTokens{{std::move(weights)}};
}

graph::Port IntegerPort(const std::string& name) {
  graph::Port port = {name, tensor::DataType::kI64, {}};
  port.sequence = true;
  return port;
}

std::shared_ptr<const model::Model> MeanOfNumbers() {
  graph::GraphBuilder builder;
  const graph::ValueId ids = builder.AddInput(IntegerPort("ids"));
  graph::Port mask_port = IntegerPort("mask");
  mask_port.role = graph::Port::Role::kMask;
  mask_port.optional = true;
  const graph::ValueId mask = builder.AddInput(mask_port);
  builder.BeginLayer({"embedding"});
  const graph::ValueId x = *builder.Add(Numbers(), ids);
  builder.BeginLayer({"fff"});
  const graph::ValueId seen = *builder.Add(Tree(), x);
  builder.BeginLayer({"pool"});
  const graph::ValueId both[] = {seen, mask};
  const graph::ValueId y = *builder.Add(MaskedMean(), both);
  EXPECT_TRUE(builder.AddOutput({}, y).ok());
  auto model = model::BuildGraph(std::move(builder).Build(), {});
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

class SequenceTask : public TestTask {
 public:
  // `rows` of one length; without a mask, it is absent.
  explicit SequenceTask(const Ids& rows, std::vector<int32_t> mask = {})
      : TestTask(std::vector<float>(rows.size(), 0)), mask_(std::move(mask)) {
    for (const auto& row : rows)
      ids_.insert(ids_.end(), row.begin(), row.end());
    tokens = static_cast<int64_t>(rows[0].size());
    const auto count = static_cast<int64_t>(rows.size());
    inputs = {{tensor::DataType::kI32, ids_.data(), count, tokens},
              {tensor::DataType::kI32, mask_.empty() ? nullptr : mask_.data(),
               count, tokens}};
    leaves_.assign(ids_.size(), -7);
  }

  // Asks for the ways of every token.
  void AskForRoutes() {
    sinks_.resize(3);
    sinks_[1].leaves = leaves_.data();
    routes = sinks_;
  }
  const std::vector<int32_t>& leaves() const { return leaves_; }

 private:
  std::vector<int32_t> ids_;
  const std::vector<int32_t> mask_;
  std::vector<int32_t> leaves_;
  std::vector<engine::RouteSink> sinks_;
};

class SequenceBatchTest : public ::testing::Test {
 protected:
  std::shared_ptr<const Servable> Serve(int64_t max_batch_tokens = 4096) {
    ServableOptions options;
    options.batching.max_batch_tokens = max_batch_tokens;
    return MakeServable(MeanOfNumbers(), options);
  }
  void Run(const std::vector<Task*>& tasks) {
    std::vector<Piece> pieces;
    for (Task* task : tasks) pieces.push_back({task, 0, task->rows()});
    servable_ = Serve();
    runner_.Run(*servable_, pieces);
  }

  std::shared_ptr<const Servable> servable_;  // of the last Run
  BatchRunner runner_{/*threads=*/1};
};

TEST_F(SequenceBatchTest, RowsOfSeveralLengthsShareABatch) {
  SequenceTask one(Ids{{7}});
  SequenceTask three(Ids{{1, 2, 6}, {10, 20, 30}});
  SequenceTask five(Ids{{1, 2, 3, 4, 5}});
  Run({&one, &three, &five});
  EXPECT_THAT(one.output(), ElementsAre(7));
  EXPECT_THAT(three.output(), ElementsAre(3, 20));
  EXPECT_THAT(five.output(), ElementsAre(3));
  EXPECT_EQ(one.timing.batch_rows, 4);
  EXPECT_EQ(servable_->metrics().rows.Value(), 4u);
  EXPECT_EQ(servable_->metrics().tokens.Value(), 12u);
}

TEST_F(SequenceBatchTest, AMaskReachesItsRowsAlone) {
  SequenceTask masked(Ids{{1, 2, 99}, {50, 4, 6}}, {1, 1, 0, 0, 1, 1});
  SequenceTask plain(Ids{{1, 3}});
  Run({&masked});
  EXPECT_THAT(masked.output(), ElementsAre(1.5, 5));
  Run({&plain, &masked, &plain});
  EXPECT_THAT(masked.output(), ElementsAre(1.5, 5));
  EXPECT_THAT(plain.output(), ElementsAre(2));
}

TEST_F(SequenceBatchTest, EveryTokenHasItsWay) {
  SequenceTask asked(Ids{{1, 20, 3}, {30, 9, 10}});
  SequenceTask other(Ids{{11, 11}});
  asked.AskForRoutes();
  Run({&other, &asked});
  EXPECT_THAT(asked.leaves(), ElementsAre(0, 1, 0, 1, 0, 1));
  SequenceTask alone(Ids{{1, 20, 3}, {30, 9, 10}});
  alone.AskForRoutes();
  Run({&alone});
  EXPECT_EQ(alone.leaves(), asked.leaves());
}

TEST_F(SequenceBatchTest, ATaskInPiecesIsWhole) {
  SequenceTask task(Ids{{1, 3}, {2, 4}, {20, 6}});
  task.AskForRoutes();
  const auto servable = Serve();
  for (int64_t row = 0; row < 3; ++row) {
    const Piece piece = {&task, row, 1};
    runner_.Run(*servable, {&piece, 1});
  }
  EXPECT_THAT(task.output(), ElementsAre(2, 3, 13));
  EXPECT_THAT(task.leaves(), ElementsAre(0, 0, 0, 0, 1, 0));
}

TEST(SequenceQueueTest, ABatchHoldsNoMoreTokensThanItMay) {
  BatchPolicy policy = {64, {}};
  policy.max_batch_tokens = 10;
  BatchQueue queue(policy, 1000);
  std::deque<SequenceTask> tasks;
  const auto push = [&](int rows, size_t length) {
    tasks.emplace_back(
        Ids(static_cast<size_t>(rows), std::vector<int32_t>(length, 1)));
    queue.Push(&tasks.back(), nullptr);
  };
  push(1, 4);
  push(2, 3);   // full
  push(7, 3);   // in three batches
  push(1, 30);  // longer than a batch: alone
  EXPECT_EQ(queue.queued().rows, 11);
  EXPECT_EQ(queue.queued().tokens, 4 + 6 + 21 + 30);
  const ComputeEstimate estimate;
  std::vector<std::vector<int64_t>> batches;
  while (!queue.empty()) {
    Batch batch;
    queue.PopBatch(Clock::now(), estimate, policy.max(), batch);
    std::vector<int64_t>& rows = batches.emplace_back();
    for (const Piece& piece : batch.pieces) rows.push_back(piece.rows);
  }
  EXPECT_THAT(batches,
              ElementsAre(ElementsAre(1, 2), ElementsAre(3), ElementsAre(3),
                          ElementsAre(1), ElementsAre(1)));
  EXPECT_EQ(queue.queued().tokens, 0);
}

TEST_F(SequenceBatchTest, TheSchedulerAnswersAllLengths) {
  const auto servable = Serve(/*max_batch_tokens=*/16);
  std::deque<SequenceTask> tasks;
  {
    Scheduler scheduler(2);
    for (size_t i = 0; i < 200; ++i) {
      const auto id = static_cast<int32_t>(i % kVocabulary);
      tasks.emplace_back(Ids(1 + i % 3, std::vector<int32_t>(1 + i % 23, id)));
      ASSERT_TRUE(scheduler.Submit(servable, &tasks.back()).ok());
    }
    for (SequenceTask& task : tasks) EXPECT_TRUE(task.Await().ok());
  }
  for (size_t i = 0; i < tasks.size(); ++i) {
    const auto id = static_cast<float>(i % kVocabulary);
    EXPECT_THAT(tasks[i].output(), ::testing::Each(id)) << i;
  }
}

}  // namespace
}  // namespace fff::serving
