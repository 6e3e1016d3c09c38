#include "server/base/join_repeated.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace fff::base {
namespace {

using Parts = std::vector<std::string>;

TEST(JoinRepeatedTest, TellsASequenceOnce) {
  EXPECT_EQ(
      JoinRepeated(Parts{"in", "a", "b", "a", "b", "a", "b", "out"}, " | "),
      "in | 3 x (a | b) | out");
  EXPECT_EQ(JoinRepeated(Parts{"a", "a", "a", "a"}, ", "), "4 x (a)");
}

TEST(JoinRepeatedTest, TakesTheLongestFromTheFrontOn) {
  // Not 2 x (a) within: the longer sequence replaces more.
  EXPECT_EQ(JoinRepeated(Parts{"a", "a", "b", "a", "a", "b"}, " | "),
            "2 x (a | a | b)");
  EXPECT_EQ(JoinRepeated(Parts{"a", "b", "a", "b", "a"}, " | "),
            "2 x (a | b) | a");
}

TEST(JoinRepeatedTest, LeavesShortAndDifferentOnesAsTheyAre) {
  EXPECT_EQ(JoinRepeated(Parts{}, " | "), "");
  EXPECT_EQ(JoinRepeated(Parts{"a"}, " | "), "a");
  EXPECT_EQ(JoinRepeated(Parts{"a", "a", "a"}, " | "), "a | a | a");
  EXPECT_EQ(JoinRepeated(Parts{"a", "b", "a", "c"}, " | "), "a | b | a | c");
}

}  // namespace
}  // namespace fff::base
