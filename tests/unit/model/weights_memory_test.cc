#include "server/model/weights_memory.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/engine/isa.h"
#include "server/importer/import.h"
#include "server/model/builder.h"
#include "tests/unit/model/synthetic_checkpoint.h"

namespace fff::model {
namespace {

using test::RandomRows;
using test::RunModel;

// A dense layer of 3 MB, which kernels pack, and a tree of 127 nodes.
constexpr int64_t kWide = 1024;
constexpr int64_t kIn = 768;
constexpr int64_t kNodes = 127;
constexpr absl::string_view kConfig = R"({"layers": [
    {"type": "linear", "prefix": "a."},
    {"type": "fff", "prefix": "b.", "trees": 1},
    {"type": "linear", "prefix": "c."}]})";

importer::ModelConfig Config() {
  const auto config = importer::ParseModelConfig(kConfig, "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return *config;
}

graph::Graph Network() {
  const auto made = test::SyntheticCheckpoint()
                        .AddRandom("a.weight", {kWide, kIn})
                        .AddLinearPair("b.", kWide, kNodes, kIn)
                        .AddRandom("c.weight", {kWide, kIn})
                        .Build();
  const auto graph = importer::Import(Config(), made);
  EXPECT_TRUE(graph.ok()) << graph.status();
  return *graph;
}

std::shared_ptr<const Model> Build(const graph::Graph& graph) {
  const auto model = BuildModel(Config(), graph, {});
  EXPECT_TRUE(model.ok()) << model.status();
  return *model;
}

const graph::DenseWeights& LinearAt(const graph::Graph& graph, size_t node) {
  return *std::get<graph::Linear>(graph.nodes()[node].op).weights;
}

TEST(WeightsMemory, AModelHoldsEachDenseMatrixOnce) {
  const auto model = Build(Network());
  EXPECT_TRUE(LinearAt(model->graph(), 0).w.empty());
  EXPECT_TRUE(LinearAt(model->graph(), 2).w.empty());
  WeightsMemory memory;
  const WeightsBytes bytes = model->CountWeights(memory);
  const int64_t dense = 2 * graph::FloatBytes(kWide * kIn);
  const int64_t tree = graph::FloatBytes(kNodes * (kWide + 1 + kIn));
  EXPECT_EQ(bytes.plain, tree);
  // With AVX-512 in one layout for all batch sizes, else in two.
  EXPECT_GE(bytes.packed, dense);
  EXPECT_LE(bytes.packed, 2 * dense + (int64_t{64} << 10));
  EXPECT_EQ(bytes.host(), model->weights_bytes());
}

TEST(WeightsMemory, ATwinSharesWhatIsNoFffLayer) {
  const graph::Graph graph = Network();
  const auto model = Build(graph);
  const auto twin = BuildCostTwin(Config(), graph, {});
  ASSERT_TRUE(twin.ok()) << twin.status();
  WeightsMemory memory;
  model->CountWeights(memory);
  const WeightsBytes more = twin->model->CountWeights(memory);
  // Its own neurons, in two layouts at most, and none of the 6 MB around them.
  // But on Arm oneDNN reads no panels, and the matrix that stands in front of a
  // tree in the model alone is held once more, as oneDNN reads it.
  const int64_t neurons = graph::FloatBytes((kNodes + 1) * (kWide + kIn));
  const int64_t first =
      engine::CpuIsa() == "NEON" ? graph::FloatBytes(kWide * kIn) : 0;
  EXPECT_LE(more.host(), 3 * neurons + first);
  EXPECT_EQ(twin->model->CountWeights(memory).host(), 0) << "counted twice";
}

// A lazy twin and the benchmark's other networks are made of it.
TEST(WeightsMemory, TheWholeNetworkIsUnpackedBitByBit) {
  const graph::Graph graph = Network();
  const auto model = Build(graph);
  const auto whole = model->WholeGraph();
  ASSERT_TRUE(whole.ok()) << whole.status();
  for (const size_t node : {size_t{0}, size_t{2}}) {
    EXPECT_EQ(LinearAt(*whole, node).w.span(), LinearAt(graph, node).w.span());
  }
  const std::vector<float> x = RandomRows(5, kIn);
  const auto from_whole = BuildCostTwin(Config(), *whole, {});
  const auto from_file = BuildCostTwin(Config(), graph, {});
  ASSERT_TRUE(from_whole.ok() && from_file.ok());
  EXPECT_EQ(RunModel(*from_whole->model, x), RunModel(*from_file->model, x));
}

}  // namespace
}  // namespace fff::model
