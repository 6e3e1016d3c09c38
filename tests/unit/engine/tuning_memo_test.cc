#include "server/engine/tuning_memo.h"

#include <optional>

#include "gtest/gtest.h"

namespace fff::engine {
namespace {

const Choices kChoices = {{1, {0, 0}, "measured: a"},
                          {64, {1, 0}, "measured: b"}};

class TuningMemoTest : public ::testing::Test {
 protected:
  double now_s_ = 100;
  TuningMemo memo_{[this] { return now_s_; }};
};

TEST_F(TuningMemoTest, GivesTheChoicesOfAShapeAndSaysWhose) {
  EXPECT_FALSE(memo_.Find("dense 8->8", 0.1).has_value());
  memo_.Keep("dense 8->8", 0.1, kChoices);
  const std::optional<Choices> found = memo_.Find("dense 8->8", 0.1);
  ASSERT_TRUE(found.has_value());
  ASSERT_EQ(found->size(), 2u);
  EXPECT_EQ(found->at(1).rows_min, 64);
  EXPECT_EQ(found->at(1).candidate, kChoices[1].candidate);
  EXPECT_EQ(found->at(0).reason, "measured: a, for a layer of this shape");
  EXPECT_FALSE(memo_.Find("dense 8->9", 0.1).has_value());
}

TEST_F(TuningMemoTest, WhatHadLittleTimeIsMeasuredAgain) {
  memo_.Keep("shape", 0.1, kChoices);
  EXPECT_TRUE(memo_.Find("shape", 0.2).has_value());
  EXPECT_FALSE(memo_.Find("shape", 0.21).has_value());
}

TEST_F(TuningMemoTest, WhatIsOldIsMeasuredAgain) {
  memo_.Keep("shape", 0.1, kChoices);
  now_s_ += TuningMemo::kKeptSeconds;
  EXPECT_TRUE(memo_.Find("shape", 0.1).has_value());
  now_s_ += 1;
  EXPECT_FALSE(memo_.Find("shape", 0.1).has_value());
  memo_.Keep("shape", 0.1, kChoices);
  EXPECT_TRUE(memo_.Find("shape", 0.1).has_value());
}

}  // namespace
}  // namespace fff::engine
