#include "server/graph/packed_copies.h"

#include <memory>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/graph/passes.h"
#include "tests/unit/graph/test_graphs.h"

namespace fff::graph {
namespace {

// Packed by nobody.
class Kept : public PackedRows {
 public:
  explicit Kept(tensor::FloatArray plain) : plain_(std::move(plain)) {}
  tensor::FloatArray Plain() const override { return plain_; }
  int64_t bytes() const override { return FloatBytes(plain_.size()); }

 private:
  tensor::FloatArray plain_;
};

PackedCopies::Copy Make() {
  const float values[] = {1, 2, 3};
  return std::make_shared<const Kept>(tensor::FloatArray::CopyOf(values));
}

TEST(PackedCopies, OneCopyPerLayoutAsLongAsSomebodyHoldsIt) {
  const PackedCopies copies;
  PackedCopies::Copy first = copies.FindOrMake("a", Make);
  EXPECT_EQ(copies.FindOrMake("a", Make), first);
  EXPECT_NE(copies.FindOrMake("b", Make), first);
  EXPECT_EQ(copies.Any(), first) << "that of b is gone again";
  first = nullptr;
  EXPECT_EQ(copies.Any(), nullptr);
}

TEST(PackedCopies, OtherWeightsStartWithNone) {
  const PackedCopies copies;
  const PackedCopies::Copy first = copies.FindOrMake("a", Make);
  PackedCopies other = copies;
  EXPECT_EQ(other.Any(), nullptr);
  other.ShareWith(copies);
  EXPECT_EQ(other.Any(), first);
}

Graph LinearGraph() { return test::Chain(3, {test::RandomLinear(3, 2)}); }

const DenseWeights& WeightsOf(const Graph& graph) {
  return *std::get<Linear>(graph.nodes()[0].op).weights;
}

TEST(WithoutRows, DropsThemWhereItIsTold) {
  const Graph graph = LinearGraph();
  const auto kept = WithoutRows(graph, [](size_t) { return false; });
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_EQ(&WeightsOf(*kept), &WeightsOf(graph));
  const auto dropped =
      WithoutRows(graph, [](size_t node) { return node == 0; });
  ASSERT_TRUE(dropped.ok()) << dropped.status();
  EXPECT_TRUE(WeightsOf(*dropped).w.empty());
  EXPECT_EQ(WeightsOf(*dropped).bias.data(), WeightsOf(graph).bias.data());
  EXPECT_EQ(dropped->cost().flops, graph.cost().flops);
  EXPECT_EQ(dropped->Print(), graph.Print());
}

TEST(WithRows, UnpacksWhatAKernelHoldsAndNeedsOne) {
  const Graph graph = LinearGraph();
  const auto dropped = WithoutRows(graph, [](size_t) { return true; });
  ASSERT_TRUE(dropped.ok()) << dropped.status();
  EXPECT_EQ(WithRows(*dropped).status().code(),
            absl::StatusCode::kFailedPrecondition);
  const PackedCopies::Copy copy = WeightsOf(graph).copies.FindOrMake(
      "kept", [&] { return std::make_shared<const Kept>(WeightsOf(graph).w); });
  const auto whole = WithRows(*dropped);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(WeightsOf(*whole).w.data(), WeightsOf(graph).w.data());
  EXPECT_EQ(WeightsOf(*whole).copies.Any(), copy) << "packed again";
}

}  // namespace
}  // namespace fff::graph
