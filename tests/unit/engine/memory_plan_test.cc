#include "server/engine/memory_plan.h"

#include <cstdint>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/graph/test_graphs.h"

namespace fff::engine {
namespace {

using graph::GraphBuilder;
using graph::ValueId;
using graph::test::Chain;
using graph::test::RandomLinear;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(MemoryPlanTest, AChainNeedsTwoSlotsTheWidestOfEachTurn) {
  const MemoryPlan plan = PlanMemory(
      Chain(3, {RandomLinear(3, 10), RandomLinear(10, 4), RandomLinear(4, 7),
                RandomLinear(7, 20), RandomLinear(20, 2)}));
  // Values of width 10, 4, 7, 20: by turns, as two buffers would hold them.
  EXPECT_THAT(plan.slot_widths, ElementsAre(10, 20));
  EXPECT_EQ(plan.places[1].index, 0u);
  EXPECT_EQ(plan.places[2].index, 1u);
  EXPECT_EQ(plan.places[3].index, 0u);
  EXPECT_EQ(plan.places[4].index, 1u);
  EXPECT_EQ(plan.places[5].where, Place::Where::kOutput);
  EXPECT_EQ(plan.places[0].where, Place::Where::kInput);
}

TEST(MemoryPlanTest, OneOpNeedsNone) {
  EXPECT_THAT(PlanMemory(Chain(3, {RandomLinear(3, 4)})).slot_widths,
              IsEmpty());
}

TEST(MemoryPlanTest, AValueThatIsReadLaterKeepsItsSlot) {
  // h is read by the last node, so the two between cannot have its slot.
  const graph::Graph graph =
      graph::test::Made(4, [](GraphBuilder& builder, ValueId x) {
        const ValueId h = *builder.Add(RandomLinear(4, 4), x);
        const ValueId deep =
            *builder.AddChain({RandomLinear(4, 9), RandomLinear(9, 4)}, h);
        const ValueId sum = *builder.Add(graph::test::HalfBlend(4), {deep, h});
        return builder.Add(RandomLinear(4, 2), sum);
      });
  const MemoryPlan plan = PlanMemory(graph);
  EXPECT_THAT(plan.slot_widths, ElementsAre(4, 9, 4));
}

TEST(MemoryPlanTest, ABlendLiesWhereItsFirstInputDoes) {
  const graph::Graph graph = graph::test::MasterLeaf(6, 5, 2, 0.5F);
  const MemoryPlan plan = PlanMemory(graph);
  // leaf %1 and blend %4 in the output, hidden %2 and master %3 in slots.
  EXPECT_EQ(plan.places[1].where, Place::Where::kOutput);
  EXPECT_EQ(plan.places[4].where, Place::Where::kOutput);
  EXPECT_THAT(plan.slot_widths, ElementsAre(8, 5));
}

TEST(MemoryPlanTest, AnInputIsNeverOverwritten) {
  const graph::Graph graph =
      graph::test::Made(4, [](GraphBuilder& builder, ValueId x) {
        const ValueId h = *builder.Add(RandomLinear(4, 4), x);
        return builder.Add(graph::test::HalfBlend(4), {x, h});
      });
  const MemoryPlan plan = PlanMemory(graph);
  EXPECT_EQ(plan.places[2].where, Place::Where::kOutput);
  EXPECT_EQ(plan.places[0].where, Place::Where::kInput);
}

TEST(RowsPerBlockTest, KeepsSmallBatchesWhole) {
  EXPECT_EQ(RowsPerBlock(1, 1 << 20), 1);
  EXPECT_EQ(RowsPerBlock(4096, 128), 4096);
  EXPECT_EQ(RowsPerBlock(4096, 0), 4096);
  EXPECT_EQ(RowsPerBlock(0, 128), 1);
}

TEST(RowsPerBlockTest, CutsWhatLeavesTheCacheIntoEvenBlocks) {
  // 16 MiB of 4095 floats per row are 1024 rows.
  EXPECT_EQ(RowsPerBlock(16384, 4095), 1024);  // 16 blocks
  EXPECT_EQ(RowsPerBlock(1025, 4095), 513);    // 2 blocks
  EXPECT_EQ(RowsPerBlock(2048, 131072), 256);  // wide: 256 rows pay for a pass
}

TEST(RowsPerBlockTest, NeverHoldsMoreThanItsMemory) {
  for (const int64_t width : {1 << 20, 1 << 22, 1 << 24}) {
    const int64_t rows = RowsPerBlock(4096, width);
    EXPECT_GE(rows, 1);
    EXPECT_LE(rows * width * 4, int64_t{1} << 30) << width;
  }
  EXPECT_EQ(RowsPerBlock(4096, int64_t{1} << 40), 1);
}

}  // namespace
}  // namespace fff::engine
