// Batches whose requests want the outputs of some tokens, or the strongest
// columns: what each is given, beside others that want all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "server/model/builder.h"
#include "server/serving/batching/batch_runner.h"
#include "server/serving/batching/top_columns.h"
#include "server/tensor/random.h"
#include "tests/unit/serving/test_servable.h"

namespace fff::serving {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int64_t kTableRows = 100;
constexpr int64_t kColumns = 3;

using Ids = std::vector<std::vector<int32_t>>;

// id -> [id], then [id, -id, 10] per token.
std::shared_ptr<const model::Model> ThreeColumns() {
  auto table = std::make_shared<graph::EmbeddingWeights>();
  table->problem = {1, 1, kTableRows};
  std::vector<float> numbers(kTableRows);
  std::iota(numbers.begin(), numbers.end(), 0.0F);
  table->table = tensor::FloatArray::CopyOf(numbers);
  auto linear = std::make_shared<graph::DenseWeights>();
  linear->problem = {1, kColumns, graph::Activation::kIdentity, true};
  linear->w = tensor::FloatArray::CopyOf({1, -1, 0});
  linear->bias = tensor::FloatArray::CopyOf({0, 0, 10});
  graph::Port port = {"ids", tensor::DataType::kI64, {}};
  port.sequence = true;
  graph::GraphBuilder builder;
  const graph::ValueId ids = builder.AddInput(port);
  builder.BeginLayer({"embedding"});
  const graph::ValueId x = *builder.Add(graph::Embedding{{table}}, ids);
  builder.BeginLayer({"linear"});
  const graph::ValueId y = *builder.Add(graph::Linear{{linear}}, x);
  EXPECT_TRUE(builder.AddOutput({}, y).ok());
  EXPECT_TRUE(builder.AcceptPositions("positions"));
  auto model = model::BuildGraph(std::move(builder).Build(), {});
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

class SelectingTask : public Task {
 public:
  // `rows` of one length; `places` and `k` as Task::positions and top_k.
  explicit SelectingTask(const Ids& rows, std::vector<int32_t> places = {},
                         int64_t k = 0)
      : places_(std::move(places)) {
    for (const auto& row : rows)
      ids_.insert(ids_.end(), row.begin(), row.end());
    const auto count = static_cast<int64_t>(rows.size());
    tokens = static_cast<int64_t>(rows[0].size());
    inputs = {{tensor::DataType::kI32, ids_.data(), count, tokens}};
    positions = places_;
    top_k = k;
    const int64_t outputs =
        places_.empty() ? tokens : static_cast<int64_t>(places_.size()) / count;
    const int64_t width = outputs * (k > 0 ? k : kColumns);
    y_.assign(static_cast<size_t>(count * width), NAN);
    top_ids_.assign(y_.size(), -7);
    y = {y_.data(), count, width};
    if (k > 0) top_ids = top_ids_.data();
  }
  void OnDone(const absl::Status& /*status*/) override {}
  const std::vector<float>& output() const { return y_; }
  const std::vector<int64_t>& ids() const { return top_ids_; }

 private:
  std::vector<int32_t> ids_;
  const std::vector<int32_t> places_;
  std::vector<float> y_;
  std::vector<int64_t> top_ids_;
};

class SelectedOutputsTest : public ::testing::Test {
 protected:
  void Run(const std::vector<Piece>& pieces) {
    runner_.Run(*servable_, pieces);
  }
  void RunWhole(const std::vector<Task*>& tasks) {
    std::vector<Piece> pieces;
    for (Task* task : tasks) pieces.push_back({task, 0, task->rows()});
    Run(pieces);
  }

  std::shared_ptr<const Servable> servable_ = MakeServable(ThreeColumns(), {});
  BatchRunner runner_{/*threads=*/1};
};

TEST_F(SelectedOutputsTest, OnlyTheTokensThatWereAskedForAreAnswered) {
  SelectingTask task(Ids{{1, 2, 3}, {40, 50, 60}}, {2, 0, 1, 1});
  RunWhole({&task});
  EXPECT_THAT(task.output(), ElementsAre(3, -3, 10, 1, -1, 10,  //
                                         50, -50, 10, 50, -50, 10));
}

TEST_F(SelectedOutputsTest, NeighboursThatWantAllTokensGetThem) {
  SelectingTask before(Ids{{7, 8}});
  SelectingTask some(Ids{{1, 2, 3}}, {1});
  SelectingTask after(Ids{{9}});
  RunWhole({&before, &some, &after});
  EXPECT_THAT(before.output(), ElementsAre(7, -7, 10, 8, -8, 10));
  EXPECT_THAT(some.output(), ElementsAre(2, -2, 10));
  EXPECT_THAT(after.output(), ElementsAre(9, -9, 10));
}

TEST_F(SelectedOutputsTest, TheStrongestColumnsComeWithTheirIds) {
  SelectingTask task(Ids{{1, 20}}, {}, 2);
  RunWhole({&task});
  EXPECT_THAT(task.output(), ElementsAre(10, 1, 20, 10));
  EXPECT_THAT(task.ids(), ElementsAre(2, 0, 0, 2));
}

TEST_F(SelectedOutputsTest, EachRequestOfABatchGetsWhatItAskedFor) {
  SelectingTask all(Ids{{5}});
  SelectingTask strongest(Ids{{11, 4}, {3, 30}}, {}, 1);
  SelectingTask both(Ids{{1, 2, 3, 44}}, {3, 0}, 3);
  SelectingTask some(Ids{{6, 7}}, {0});
  RunWhole({&all, &strongest, &both, &some});
  EXPECT_THAT(all.output(), ElementsAre(5, -5, 10));
  EXPECT_THAT(strongest.output(), ElementsAre(11, 10, 10, 30));
  EXPECT_THAT(strongest.ids(), ElementsAre(0, 2, 2, 0));
  EXPECT_THAT(both.output(), ElementsAre(44, 10, -44, 10, 1, -1));
  EXPECT_THAT(both.ids(), ElementsAre(0, 2, 1, 2, 0, 1));
  EXPECT_THAT(some.output(), ElementsAre(6, -6, 10));
}

TEST_F(SelectedOutputsTest, PiecesOfATaskAreWrittenWhereTheyBelong) {
  SelectingTask task(Ids{{1, 2}, {30, 4}, {5, 60}}, {1, 0, 1}, 1);
  SelectingTask other(Ids{{8}});
  Run({{&other, 0, 1}, {&task, 2, 1}});
  Run({{&task, 0, 2}});
  EXPECT_THAT(task.output(), ElementsAre(10, 30, 60));
  EXPECT_THAT(task.ids(), ElementsAre(2, 0, 0));
}

// Outputs come in blocks of some MB; a batch of many has several.
TEST(OutputSinkTest, ABatchOfManyBlocksIsWhole) {
  constexpr int64_t kWide = 40'000;
  constexpr int64_t kRows = 257;
  auto linear = std::make_shared<graph::DenseWeights>();
  linear->problem = {1, kWide, graph::Activation::kIdentity, false};
  std::vector<float> w(kWide);
  for (size_t i = 0; i < w.size(); ++i) {
    w[i] = static_cast<float>((i * 7919) % kWide);
  }
  linear->w = tensor::FloatArray::CopyOf(w);
  graph::GraphBuilder builder;
  const graph::ValueId x =
      builder.AddInput({"x", tensor::DataType::kF32, {1}, {}});
  builder.BeginLayer({"linear"});
  const graph::ValueId y = *builder.Add(graph::Linear{{linear}}, x);
  ASSERT_TRUE(builder.AddOutput({}, y).ok());
  EXPECT_FALSE(builder.AcceptPositions("positions"));
  const auto model = *model::BuildGraph(std::move(builder).Build(), {});
  const auto servable = MakeServable(model, {});

  TestTask task(std::vector<float>(kRows, 1), 1);
  std::vector<float> values(2 * kRows);
  std::vector<int64_t> ids(2 * kRows);
  for (int64_t r = 0; r < kRows; ++r) {
    const_cast<float&>(task.input()[static_cast<size_t>(r)]) =
        r % 2 == 0 ? 1.0F : -1.0F;
  }
  task.top_k = 2;
  task.top_ids = ids.data();
  task.y = {values.data(), kRows, 2};
  BatchRunner runner(/*threads=*/1);
  const Piece piece = {&task, 0, kRows};
  runner.Run(*servable, {&piece, 1});
  // 7919 has no factor in common with 40,000, so every value is there once.
  const auto column_of = [&](float value) {
    return std::find(w.begin(), w.end(), value) - w.begin();
  };
  for (size_t r = 0; r < kRows; ++r) {
    const bool up = r % 2 == 0;
    ASSERT_EQ(values[2 * r], up ? kWide - 1 : 0) << r;
    ASSERT_EQ(values[2 * r + 1], up ? kWide - 2 : -1) << r;
    ASSERT_EQ(ids[2 * r], column_of(up ? kWide - 1 : 0)) << r;
    ASSERT_EQ(ids[2 * r + 1], column_of(up ? kWide - 2 : 1)) << r;
  }
}

struct Top {
  std::vector<float> values;
  std::vector<int64_t> columns;
};

Top TopOf(const std::vector<float>& row, int64_t count) {
  Top top = {std::vector<float>(static_cast<size_t>(count)),
             std::vector<int64_t>(static_cast<size_t>(count))};
  SelectTop(row.data(), static_cast<int64_t>(row.size()), count,
            top.values.data(), top.columns.data());
  return top;
}

TEST(SelectTopTest, IsASortCutOff) {
  for (const int64_t width : {1, 2, 5, 100, 3000}) {
    const auto random = tensor::RandomNormal(width, 3);
    std::vector<float> row(random.span().begin(), random.span().end());
    for (float& value : row) value = std::round(value * 20);  // many are equal
    std::vector<int64_t> sorted(row.size());
    std::iota(sorted.begin(), sorted.end(), 0);
    std::stable_sort(sorted.begin(), sorted.end(), [&](int64_t a, int64_t b) {
      return row[static_cast<size_t>(a)] > row[static_cast<size_t>(b)];
    });
    for (const int64_t count : {int64_t{1}, width / 2, width}) {
      if (count < 1) continue;
      sorted.resize(
          std::max<size_t>(sorted.size(), static_cast<size_t>(count)));
      const Top top = TopOf(row, count);
      EXPECT_EQ(top.columns,
                std::vector<int64_t>(sorted.begin(), sorted.begin() + count));
      for (size_t i = 0; i < top.values.size(); ++i) {
        EXPECT_EQ(top.values[i], row[static_cast<size_t>(top.columns[i])]);
      }
    }
  }
}

TEST(SelectTopTest, NaNIsAboveAllNumbersWhereverItStands) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  EXPECT_THAT(TopOf({1, NAN, kInf, 3, NAN}, 3).columns, ElementsAre(1, 4, 2));
  EXPECT_THAT(TopOf({NAN, 1, kInf}, 2).columns, ElementsAre(0, 2));
  EXPECT_THAT(TopOf({-kInf, -kInf, -1}, 2).columns, ElementsAre(2, 0));
}

}  // namespace
}  // namespace fff::serving
