#include "server/importer/json_lines.h"

#include <gtest/gtest.h>

namespace fff::importer {
namespace {

constexpr char kText[] = R"({
  "input": {"shape": [3, 4]},
  "layers": [
    {"type": "fff", "prefix": "a\"b]"},
    {"type": "linear",
     "prefix": "}"}, 7,
    [1,
     2]
  ], "last": null
})";

TEST(JsonLines, FindsKeysAndElements) {
  EXPECT_EQ(LineOf(kText, "input"), 2);
  EXPECT_EQ(LineOf(kText, "input.shape[1]"), 2);
  EXPECT_EQ(LineOf(kText, "layers"), 3);
  EXPECT_EQ(LineOf(kText, "layers[0].prefix"), 4);
  EXPECT_EQ(LineOf(kText, "layers[1]"), 5);
  EXPECT_EQ(LineOf(kText, "layers[1].prefix"), 6);
  EXPECT_EQ(LineOf(kText, "layers[2]"), 6);
  EXPECT_EQ(LineOf(kText, "layers[3][1]"), 8);
  EXPECT_EQ(LineOf(kText, "last"), 9);
}

TEST(JsonLines, SaysNothingOfWhatIsNotThere) {
  EXPECT_EQ(LineOf(kText, ""), 0);
  EXPECT_EQ(LineOf(kText, "prefix"), 0);
  EXPECT_EQ(LineOf(kText, "layers[4]"), 0);
  EXPECT_EQ(LineOf("", "a"), 0);
  EXPECT_EQ(LineOf("{\"a", "b"), 0);
}

}  // namespace
}  // namespace fff::importer
