#include "server/engine/cpu/batch_shape.h"

#include <gtest/gtest.h>

namespace fff::engine {
namespace {

constexpr int64_t kKiB = 1024;

TEST(ShapeFor, FetchesIntoL1OnlyWhereTheRowsFit) {
  EXPECT_EQ(ShapeFor(768, 4, 32 * kKiB).fetch_to, CacheLevel::kL2);
  EXPECT_EQ(ShapeFor(768, 4, 48 * kKiB).fetch_to, CacheLevel::kL1);
  EXPECT_EQ(ShapeFor(768, 4, 64 * kKiB).fetch_to, CacheLevel::kL1);
  EXPECT_EQ(ShapeFor(768, 4, 0).fetch_to, CacheLevel::kL1);  // unknown
}

TEST(ShapeFor, WalksAsManyLevelsAsFitAQuarterOfAMegabyte) {
  EXPECT_EQ(ShapeFor(768, 4, 0).stage_levels, 6);  // 63 nodes of 3 KiB
  EXPECT_EQ(ShapeFor(768, 2, 0).stage_levels, 7);
  EXPECT_EQ(ShapeFor(16384, 4, 0).stage_levels, 2);
}

TEST(ShapeFor, FetchesNoRowsThatPushEachOtherOut) {
  EXPECT_EQ(ShapeFor(1024, 4, 0).rows_ahead, 8);
  EXPECT_EQ(ShapeFor(1025, 4, 0).rows_ahead, 0);
}

}  // namespace
}  // namespace fff::engine
