// "engine": "auto" of config.json: layers that may be evaluated densely.
#include <cstring>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/model/builder.h"
#include "tests/unit/model/synthetic_checkpoint.h"

namespace fff::model {
namespace {

using importer::ParseModelConfig;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAreArray;
using ::testing::Not;

constexpr int64_t kTrees = 128;
constexpr int64_t kWidth = 96;

// 128 trees of 2 levels.
test::SyntheticCheckpoint ManyTrees() {
  test::SyntheticCheckpoint checkpoint;
  checkpoint.AddLinearPair("", kWidth, 3 * kTrees, kWidth);
  return checkpoint;
}

std::shared_ptr<const Model> Built(const std::string& json,
                                   const test::SyntheticCheckpoint& from) {
  const auto config = ParseModelConfig(json, "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  const auto model = test::BuildFrom(*config, from.Build());
  EXPECT_TRUE(model.ok()) << model.status();
  return *model;
}

std::string ManyTreesConfig(const std::string& more) {
  return R"({"layers": [{"type": "fff", "convention": "ultrafastbert",)"
         R"( "trees": 128}])" +
         more + "}";
}

std::vector<std::string> Kernels(const Model& model) {
  std::vector<std::string> names;
  for (const auto& step : model.KernelSteps(0)) names.push_back(step.kernel);
  return names;
}

struct Answer {
  std::vector<float> y;
  std::vector<int32_t> leaves;
  std::vector<float> margins;
};

Answer Ask(const Model& model, const std::vector<float>& x) {
  const size_t rows = x.size() / static_cast<size_t>(kWidth);
  Answer answer;
  answer.leaves.assign(rows * kTrees, -1);
  answer.margins.assign(rows * kTrees * 2, std::nanf(""));
  const engine::RouteSink sink = {answer.leaves.data(), answer.margins.data()};
  answer.y = test::RunModel(model, x, {&sink, 1});
  return answer;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(EngineChoiceTest, AutoAnswersWithTheRoutesAndBitsOfFff) {
  const auto fff = Built(ManyTreesConfig(""), ManyTrees());
  const auto dense =
      Built(ManyTreesConfig(R"(, "engine": "auto")"), ManyTrees());
  EXPECT_THAT(Kernels(*fff), Each(Not("path_masked")));
  EXPECT_THAT(Kernels(*dense), Contains("path_masked"));
  for (const int64_t rows : {1, 16, 77, 300}) {
    const std::vector<float> x = test::RandomRows(rows, kWidth);
    const Answer wanted = Ask(*fff, x);
    const Answer got = Ask(*dense, x);
    EXPECT_THAT(got.leaves, ElementsAreArray(wanted.leaves)) << rows;
    EXPECT_TRUE(SameBits(got.margins, wanted.margins)) << rows;
    EXPECT_TRUE(SameBits(got.y, wanted.y)) << rows;
  }
}

TEST(EngineChoiceTest, AutoChangesNothingForReducedPrecision) {
  for (const std::string precision : {"bf16", "int8"}) {
    const auto model =
        Built(ManyTreesConfig(R"(, "engine": "auto", "precision": ")" +
                              precision + "\""),
              ManyTrees());
    EXPECT_THAT(Kernels(*model), Each(Not("path_masked")));
  }
}

TEST(EngineChoiceTest, AutoIsTakenForALeafLayerAndChangesNothing) {
  test::SyntheticCheckpoint leaf;
  leaf.AddLeafLayer("", 40, 4, 10, 3);
  const auto fff = Built("{}", leaf);
  const auto dense = Built(R"({"engine": "auto"})", leaf);
  EXPECT_EQ(Kernels(*fff), Kernels(*dense));
}

}  // namespace
}  // namespace fff::model
