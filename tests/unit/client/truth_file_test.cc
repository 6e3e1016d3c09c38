#include "client/cli/rows/truth_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "client/cli/formats/npy.h"
#include "client/cli/rows/read_file.h"

namespace fff::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

v1::GetModelResponse Model(const std::vector<int64_t>& output) {
  v1::GetModelResponse model;
  model.mutable_output()->mutable_shape()->Assign(output.begin(), output.end());
  return model;
}

PortRows Rows(int64_t rows) {
  PortRows port;
  port.widths.assign(static_cast<size_t>(rows), 4);
  return port;
}

absl::StatusOr<Truth> Read(const std::string& contents,
                           const v1::GetModelResponse& model, int64_t rows,
                           bool may_be_more = false) {
  const std::string path = ::testing::TempDir() + "/truth_file_test";
  EXPECT_TRUE(WriteFile(path, contents).ok());
  return ReadTruth(path, may_be_more, model, Rows(rows));
}

TEST(TruthFileTest, IntegersAreClasses) {
  const auto truth = Read("2\n0\n", Model({3}), 2);
  ASSERT_TRUE(truth.ok()) << truth.status();
  EXPECT_THAT(truth->labels, ElementsAre(2, 0));
  EXPECT_THAT(truth->numbers, IsEmpty());
}

TEST(TruthFileTest, AsManyAsTheOutputHasAreNumbers) {
  const auto truth = Read("2,0,1\n4,5,6\n", Model({3}), 2);
  ASSERT_TRUE(truth.ok()) << truth.status();
  EXPECT_THAT(truth->numbers, ElementsAre(2, 0, 1, 4, 5, 6));
  EXPECT_THAT(truth->labels, IsEmpty());
  // Of a single output an integer is a number.
  EXPECT_THAT(Read("7\n8\n", Model({1}), 2)->numbers, ElementsAre(7, 8));
}

TEST(TruthFileTest, FloatsAreNumbers) {
  const std::vector<float> values = {0.5F, 1, 2, 3};
  const auto truth = Read(WriteNpy(values, {2, 2}), Model({2}), 2);
  ASSERT_TRUE(truth.ok()) << truth.status();
  EXPECT_THAT(truth->numbers, ElementsAre(0.5F, 1, 2, 3));
  const auto wrong = Read(WriteNpy(values, {4, 1}), Model({3}), 4);
  EXPECT_THAT(wrong.status().message(),
              HasSubstr("got 4 numbers, wanted 3 for each of 4 rows, or one "
                        "class, an integer"));
}

TEST(TruthFileTest, RefusesOtherCountsAndClassesThatAreNot) {
  EXPECT_THAT(Read("1\n", Model({3}), 2).status().message(),
              HasSubstr("got 1 labels, wanted one for each of 2 rows"));
  EXPECT_THAT(Read("1\n1\n1\n", Model({3}), 2).status().message(),
              HasSubstr("got 3 labels"));
  EXPECT_THAT(Read("1\n1\n1\n", Model({3}), 2, true)->labels,
              ElementsAre(1, 1));
  EXPECT_THAT(Read("1\n3\n", Model({3}), 2).status().message(),
              HasSubstr("got label 3 for row 1, wanted 0 to 2"));
  EXPECT_THAT(Read("1\n-1\n", Model({3}), 2).status().message(),
              HasSubstr("got label -1"));
}

TEST(TruthFileTest, NumbersAreFinite) {
  const std::vector<float> values = {0.5F,
                                     std::numeric_limits<float>::infinity()};
  EXPECT_THAT(Read(WriteNpy(values, {2, 1}), Model({1}), 2).status().message(),
              HasSubstr("got inf as number 1, wanted finite numbers"));
}

}  // namespace
}  // namespace fff::cli
