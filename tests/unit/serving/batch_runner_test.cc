#include "server/serving/batching/batch_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>

#include "tests/unit/serving/test_layer.h"
#include "tests/unit/serving/test_servable.h"

namespace fff::serving {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

// Two trees of depth 3 with four margins each, between two plain layers.
constexpr graph::RoutingShape kRouting = {graph::RoutingShape::Family::kPath, 2,
                                          4, 3};

// Copies, and remembers where it was asked to read and write.
struct Watched {
  const float* read = nullptr;
  const float* written = nullptr;
};
class WatchingExecutable : public engine::Executable {
 public:
  explicit WatchingExecutable(Watched* watched) : watched_(watched) {}
  absl::Span<const engine::NodeReport> report() const override {
    return report_;
  }
  absl::Status Run(const engine::Batch& batch,
                   engine::ExecutionContext& /*context*/) const override {
    const tensor::ConstRows x = batch.inputs[0].floats();
    *watched_ = {x.data, batch.outputs[0].data};
    std::copy_n(x.data, x.rows * x.width, batch.outputs[0].data);
    return absl::OkStatus();
  }

 private:
  Watched* const watched_;
  const std::vector<engine::NodeReport> report_ =
      std::vector<engine::NodeReport>(1);
};

// Room for the routes of `rows` rows of a three-layer model, the middle one of
// which routes; what was not written stays -7.
struct Routes {
  explicit Routes(int64_t rows)
      : leaves(static_cast<size_t>(rows * 2), -7),
        margins(static_cast<size_t>(rows * 8), -7) {}
  std::vector<engine::RouteSink> Sinks(bool want_leaves, bool want_margins) {
    std::vector<engine::RouteSink> sinks(3);
    if (want_leaves) sinks[1].leaves = leaves.data();
    if (want_margins) sinks[1].margins = margins.data();
    return sinks;
  }
  std::vector<int32_t> leaves;
  std::vector<float> margins;
};

class BatchRunnerTest : public ::testing::Test {
 protected:
  BatchRunnerTest() {
    DoublingLayer::Options plain;
    plain.log = &log_;
    DoublingLayer::Options routed = plain;
    routed.routing = kRouting;
    routed_options_ = routed;
    servable_ = MakeServable(MakeModel({plain, routed, plain}));
  }

  static std::vector<Piece> Whole(const std::vector<Task*>& tasks) {
    std::vector<Piece> pieces;
    for (Task* task : tasks) pieces.push_back({task, 0, task->rows()});
    return pieces;
  }
  void Run(const std::vector<Task*>& tasks) {
    runner_.Run(*servable_, Whole(tasks));
  }

  // The routing layer sees the values doubled once.
  void ExpectRoutes(const std::vector<float>& values, const Routes& routes) {
    for (size_t r = 0; r < values.size(); ++r) {
      for (size_t t = 0; t < 2; ++t) {
        const float seen = 2 * values[r];
        const auto tree = static_cast<int64_t>(t);
        EXPECT_EQ(routes.leaves[r * 2 + t],
                  DoublingLayer::Leaf(routed_options_, seen, tree));
        for (size_t d = 0; d < 4; ++d) {
          EXPECT_EQ(routes.margins[(r * 2 + t) * 4 + d],
                    DoublingLayer::Margin(seen, tree, static_cast<int>(d)));
        }
      }
    }
  }

  RunLog log_;
  DoublingLayer::Options routed_options_;
  std::shared_ptr<const Servable> servable_;
  BatchRunner runner_{/*threads=*/1};
};

TEST_F(BatchRunnerTest, GivesEachTaskItsOwnRows) {
  TestTask a({1});
  TestTask b({2, 3});
  TestTask c({4});
  Run({&a, &b, &c});
  EXPECT_THAT(a.output(), ElementsAre(8));
  EXPECT_THAT(b.output(), ElementsAre(16, 24));
  EXPECT_THAT(c.output(), ElementsAre(32));
  EXPECT_THAT(log_.rows(), ElementsAre(4, 4, 4));
}

TEST_F(BatchRunnerTest, TellsEachTaskOfTheWholeBatch) {
  TestTask a({1});
  TestTask b({2, 3});
  Run({&a, &b});
  EXPECT_EQ(a.timing.batch_rows, 3);
  EXPECT_EQ(b.timing.batch_rows, 3);
  EXPECT_EQ(a.timing.compute_ns, b.timing.compute_ns);
  EXPECT_FALSE(a.done()) << "the caller tells, not the runner";
}

TEST_F(BatchRunnerTest, ReadsAndWritesASingleTaskInPlace) {
  Watched watching;
  const auto servable = MakeServable(
      MakeModel(1, std::make_unique<WatchingExecutable>(&watching)));
  TestTask task({1, 2});
  std::vector<Task*> tasks = {&task};
  runner_.Run(*servable, Whole(tasks));
  EXPECT_EQ(watching.read, task.input().data());
  EXPECT_EQ(watching.written, task.y.data);
  TestTask other({3});
  tasks.push_back(&other);
  runner_.Run(*servable, Whole(tasks));
  EXPECT_NE(watching.read, task.input().data());
  EXPECT_THAT(other.output(), ElementsAre(3));
}

TEST_F(BatchRunnerTest, ScattersRoutesToTheTasksThatAskedForThem) {
  TestTask all({1, 2, 3});
  TestTask none({4, 5});
  TestTask leaves_only({6});
  TestTask margins_only({7, 8});
  TestTask last({9});
  Routes all_routes(3), leaf_routes(1), margin_routes(2), last_routes(1);
  const auto all_sinks = all_routes.Sinks(true, true);
  const auto leaf_sinks = leaf_routes.Sinks(true, false);
  const auto margin_sinks = margin_routes.Sinks(false, true);
  const auto last_sinks = last_routes.Sinks(true, true);
  all.routes = all_sinks;
  leaves_only.routes = leaf_sinks;
  margins_only.routes = margin_sinks;
  last.routes = last_sinks;
  Run({&all, &none, &leaves_only, &margins_only, &last});
  ExpectRoutes({1, 2, 3}, all_routes);
  ExpectRoutes({9}, last_routes);
  EXPECT_THAT(leaf_routes.leaves,
              ElementsAre(12 % 8, 13 % 8));  // row 6, doubled, two trees
  EXPECT_THAT(leaf_routes.margins, Each(-7));
  EXPECT_THAT(margin_routes.leaves, Each(-7));
  EXPECT_EQ(margin_routes.margins[0], DoublingLayer::Margin(14, 0, 0));
  EXPECT_EQ(margin_routes.margins[15], DoublingLayer::Margin(16, 1, 3));
}

TEST_F(BatchRunnerTest, WritesAPieceToItsRowsOfTheTask) {
  TestTask large({1, 2, 3, 4, 5});
  TestTask other({9});
  Routes routes(5);
  const auto sinks = routes.Sinks(true, true);
  large.routes = sinks;
  runner_.Run(*servable_, {Piece{&other, 0, 1}, Piece{&large, 3, 2}});
  EXPECT_THAT(large.output(), ElementsAre(-1, -1, -1, 32, 40));
  runner_.Run(*servable_, {Piece{&large, 0, 3}});
  EXPECT_THAT(large.output(), ElementsAre(8, 16, 24, 32, 40));
  EXPECT_THAT(other.output(), ElementsAre(72));
  ExpectRoutes({1, 2, 3, 4, 5}, routes);
}

TEST_F(BatchRunnerTest, LearnsHowLongBatchesTake) {
  EXPECT_EQ(servable_->estimate().Nanoseconds(1), 0);
  TestTask task({1});
  Run({&task});
  EXPECT_GT(servable_->estimate().Nanoseconds(1000), 0);
}

TEST_F(BatchRunnerTest, ReportsRoutesOfASingleTask) {
  TestTask task({5});
  Routes routes(1);
  const auto sinks = routes.Sinks(true, true);
  task.routes = sinks;
  Run({&task});
  ExpectRoutes({5}, routes);
}

// Buffers are reused: a small batch after a large one must not see its rows.
TEST_F(BatchRunnerTest, ReusesItsBuffersWithoutLeftovers) {
  for (const int rows : {100, 1, 50, 2, 100}) {
    std::deque<TestTask> tasks;
    std::deque<Routes> routes;
    std::deque<std::vector<engine::RouteSink>> sinks;
    std::vector<Task*> pointers;
    for (int i = 0; i < rows; ++i) {
      TestTask& task =
          tasks.emplace_back(std::vector<float>{static_cast<float>(i)});
      sinks.push_back(routes.emplace_back(1).Sinks(true, i % 2 == 0));
      task.routes = sinks.back();
      pointers.push_back(&task);
    }
    Run(pointers);
    for (int i = 0; i < rows; i += 2) {
      const auto at = static_cast<size_t>(i);
      EXPECT_THAT(tasks[at].output(),
                  ElementsAre(8.0f * static_cast<float>(i)));
      ExpectRoutes({static_cast<float>(i)}, routes[at]);
    }
  }
}

TEST_F(BatchRunnerTest, RecordsRowsAndLeafVisitsOfTheRoutingLayer) {
  TestTask a({1, 2});  // doubled 2 and 4: leaves 2, 3 and 4, 5
  TestTask b({2});     // doubled 4: leaves 4, 5
  Run({&a, &b});
  const metrics::ModelMetrics& metrics = servable_->metrics();
  EXPECT_EQ(metrics.rows.Value(), 3u);
  EXPECT_EQ(metrics.batch_rows.Snapshot().sum, 3u);
  EXPECT_EQ(metrics.compute_duration.Snapshot().count, 1u);
  const metrics::LayerVisits& of_layers = *servable_->parts().leaf_visits;
  ASSERT_EQ(of_layers.size(), 1u);
  EXPECT_EQ(of_layers[0].layer().index, 1);
  std::vector<uint64_t> visits;
  for (size_t leaf = 0; leaf < 8; ++leaf) {
    visits.push_back(of_layers[0].Value(leaf));
  }
  EXPECT_THAT(visits, ElementsAre(0, 0, 1, 1, 2, 2, 0, 0));
}

TEST_F(BatchRunnerTest, GoesOnAfterABatchWhoseBuffersItGaveBack) {
  constexpr int64_t kWidth = BatchRunner::kKeptFloatsMax / 2 + 1;
  Watched watching;
  const auto servable = MakeServable(
      MakeModel(kWidth, std::make_unique<WatchingExecutable>(&watching)));
  TestTask a(std::vector<float>(kWidth, 1), kWidth);
  TestTask b(std::vector<float>(kWidth, 2), kWidth);
  std::vector<Task*> tasks = {&a, &b};
  runner_.Run(*servable, Whole(tasks));
  EXPECT_EQ(a.output().back(), 1);
  EXPECT_EQ(b.output().back(), 2);
  TestTask small({3});
  TestTask other({4});
  Run({&small, &other});
  EXPECT_THAT(small.output(), ElementsAre(24));
  EXPECT_THAT(other.output(), ElementsAre(32));
}

TEST(Servable, IsNamedAfterItsModelAndImplementation) {
  ServableOptions options;
  options.name = "fashion";
  options.version = 12;
  const auto fff = MakeServable(MakeModel(DoublingLayer::Options()), options);
  EXPECT_EQ(fff->name(), "fashion");
  EXPECT_EQ(fff->Describe(), "model 'fashion' version 12");
  options.implementation = Implementation::kDense;
  const auto dense = MakeServable(MakeModel(DoublingLayer::Options()), options);
  EXPECT_EQ(dense->name(), "fashion:dense");
  EXPECT_EQ(dense->Describe(), "model 'fashion:dense' version 12");
  EXPECT_EQ(Name(Implementation::kFff), "fff");
  EXPECT_EQ(Name(Implementation::kDense), "dense");
}

}  // namespace
}  // namespace fff::serving
