#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/model/synthetic_checkpoint.h"

// Layouts of public code bases whose weights are re-arranged at load, in other
// shapes than their vectors have, and what is refused of them.
namespace fff::model {
namespace {

using importer::ParseModelConfig;
using test::RandomRows;
using test::RunModel;
using test::SyntheticCheckpoint;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Layer(const std::string& fields) {
  return R"({"layers": [{"type": "fff", )" + fields + "}]}";
}

absl::StatusOr<std::shared_ptr<const Model>> Build(
    const SyntheticCheckpoint& made, const std::string& json = "{}") {
  const auto config = ParseModelConfig(json, "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return test::BuildFrom(*config, made.Build());
}

std::string ErrorOf(const SyntheticCheckpoint& made,
                    const std::string& json = "{}") {
  const auto model = Build(made, json);
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(model.status().message());
}

void ExpectSame(const SyntheticCheckpoint& a, const std::string& json_a,
                const SyntheticCheckpoint& b, const std::string& json_b,
                int64_t width) {
  const auto first = Build(a, json_a);
  const auto second = Build(b, json_b);
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(second.ok()) << second.status();
  const std::vector<float> x = RandomRows(9, width);
  EXPECT_EQ(RunModel(**first, x), RunModel(**second, x));
}

std::vector<float> Zeros(size_t count) { return std::vector<float>(count); }

SyntheticCheckpoint Fastff(const std::string& prefix = "") {
  SyntheticCheckpoint made;
  made.AddRandom(prefix + "nodes.weight", {3, 5});
  made.AddRandom(prefix + "leaves.weight", {4 * 2, 5});
  for (const char* leaf : {"0", "1", "2", "3"}) {
    made.AddRandom(prefix + "leaves_out." + leaf + ".weight", {6, 2});
  }
  return made;
}

const char kFastff[] = R"("activation": "silu")";

TEST(LayoutsTest, ABiasThatIsNotThereIsZero) {
  SyntheticCheckpoint zeros = Fastff();
  zeros.Add("nodes.bias", {3}, Zeros(3)).Add("leaves.bias", {8}, Zeros(8));
  for (const char* leaf : {"0", "1", "2", "3"}) {
    zeros.Add(std::string("leaves_out.") + leaf + ".bias", {6}, Zeros(6));
  }
  ExpectSame(Fastff(), Layer(kFastff), zeros, Layer(kFastff), 5);
  // Of numbered tensors the first tells.
  zeros.Remove("leaves_out.2.bias");
  EXPECT_THAT(ErrorOf(zeros, Layer(kFastff)),
              HasSubstr("\"leaves_out.2.bias\" is missing"));
}

TEST(LayoutsTest, ALayerInsideALargerModuleIsFound) {
  ExpectSame(Fastff(), Layer(kFastff), Fastff("module.ff."), Layer(kFastff), 5);
}

TEST(LayoutsTest, TensorsOfItsModulesMustBeUsed) {
  SyntheticCheckpoint made = Fastff("ff.");
  const std::string json = Layer(R"("prefix": "ff.", "activation": "silu")");
  EXPECT_TRUE(Build(made, json).ok());
  made.AddRandom("other.weight", {2});
  EXPECT_TRUE(Build(made, json).ok());
  made.AddRandom("ff.leaves.scale", {8});
  EXPECT_THAT(ErrorOf(made, json),
              HasSubstr("modules hold tensors that it does not use: "
                        "\"ff.leaves.scale\""));
}

TEST(LayoutsTest, LeavesMustBeAsManyAsTheTreeHas) {
  SyntheticCheckpoint made = Fastff();
  made.AddRandom("leaves_out.4.weight", {6, 2});
  EXPECT_THAT(ErrorOf(made, Layer(kFastff)), HasSubstr("found 5, wanted 4"));
  SyntheticCheckpoint rows = Fastff();
  rows.AddRandom("leaves.weight", {9, 5});
  EXPECT_THAT(ErrorOf(rows, Layer(kFastff)),
              HasSubstr("found 9 rows, wanted a multiple of the 4 leaves"));
  SyntheticCheckpoint nodes = Fastff();
  nodes.AddRandom("nodes.weight", {4, 5});
  EXPECT_THAT(ErrorOf(nodes, Layer(kFastff)),
              HasSubstr("\"nodes.weight\": found 4 nodes, wanted 2^depth - 1"));
}

TEST(LayoutsTest, AnActivationThatNoTensorTellsMustBeSaid) {
  EXPECT_THAT(ErrorOf(Fastff()),
              AllOf(HasSubstr("\"fastff\" (ssslakter/FastFF"),
                    HasSubstr("takes its activation as an argument"),
                    HasSubstr(R"("activation": "relu"})")));
}

TEST(LayoutsTest, AForestIsTheSumOfItsTrees) {
  const std::vector<float> routers = RandomRows(2 * 3, 4);
  const std::vector<float> leaves = RandomRows(2 * 4 * 4, 9);
  const auto tree = [&](int64_t begin, int64_t count) {
    SyntheticCheckpoint made;
    const bool forest = count > 1;
    const auto part = [](const std::vector<float>& of, int64_t at, int64_t n) {
      return std::vector<float>(of.begin() + at, of.begin() + at + n);
    };
    const auto shape = [&](tensor::Shape one) {
      if (forest) one.insert(one.begin(), count);
      return one;
    };
    made.Add("router_weights", shape({3, 4}),
             part(routers, begin * 12, count * 12));
    made.Add("leaf_weights", shape({4, 4, 9}),
             part(leaves, begin * 144, count * 144));
    return made;
  };
  const auto both = Build(tree(0, 2));
  const auto first = Build(tree(0, 1));
  const auto second = Build(tree(1, 1));
  ASSERT_TRUE(both.ok() && first.ok() && second.ok()) << both.status();
  EXPECT_EQ((*both)->layers().size(), 2u);
  const std::vector<float> x = RandomRows(9, 4);
  const std::vector<float> a = RunModel(**first, x);
  const std::vector<float> b = RunModel(**second, x);
  const std::vector<float> sum = RunModel(**both, x);
  for (size_t i = 0; i < sum.size(); ++i) EXPECT_EQ(sum[i], a[i] + b[i]);
  EXPECT_THAT(ErrorOf(tree(0, 2), Layer(R"("trees": 3)")),
              HasSubstr("found 2 trees, wanted 3"));
}

TEST(LayoutsTest, LevelRowsMustBeThoseOfTheTree) {
  SyntheticCheckpoint made;
  made.AddRandom("X.weight", {3, 5}).AddRandom("Y", {15, 2});
  EXPECT_THAT(ErrorOf(made),
              HasSubstr("\"Y\": found shape [15, 2], wanted [7, O]"));
  // A bias would make it another function.
  made.AddRandom("Y", {7, 2}).AddRandom("X.bias", {3});
  EXPECT_THAT(ErrorOf(made), HasSubstr("\"X.bias\""));
}

TEST(LayoutsTest, TwoFlatLayersMustFitEachOther) {
  SyntheticCheckpoint made;
  made.AddRandom("net.0.PathSelector.weight", {2, 5});
  made.AddRandom("net.0.Y", {3, 6});
  made.AddRandom("net.3.PathSelector.weight", {2, 7});
  made.AddRandom("net.3.Y", {3, 5});
  EXPECT_THAT(ErrorOf(made), HasSubstr("found width 7, wanted 6"));
}

TEST(LayoutsTest, APreluHasItsOwnActivation) {
  SyntheticCheckpoint made;
  made.AddLinearPair("", 6, 7, 6).Add("activation.weight", {1}, {0.25F});
  EXPECT_TRUE(Build(made).ok());
  EXPECT_THAT(ErrorOf(made, Layer(R"("activation": "gelu")")),
              HasSubstr("the checkpoint has its own"));
  EXPECT_THAT(ErrorOf(made, Layer(R"("convention": "ultrafastbert")")),
              HasSubstr("\"activation.weight\" is there"));
}

SyntheticCheckpoint MlpUtils() {
  SyntheticCheckpoint made;
  made.AddRandom("routers.0.weight", {1, 5});
  for (const char* expert : {"experts.0.net.", "experts.1.net."}) {
    made.AddRandom(std::string(expert) + "0.weight", {7, 4});
    made.AddRandom(std::string(expert) + "3.weight", {4, 7});
  }
  return made.AddRandom("project_in.weight", {4, 5});
}

TEST(LayoutsTest, ExpertsMustFitTheirProjections) {
  const std::string json = Layer(R"("activation": "relu")");
  EXPECT_TRUE(Build(MlpUtils(), json).ok());
  SyntheticCheckpoint narrow = MlpUtils();
  narrow.AddRandom("project_in.weight", {3, 5});
  EXPECT_THAT(ErrorOf(narrow, json),
              HasSubstr("\"experts.0.net.0.weight\": found 4 columns, wanted "
                        "3"));
  SyntheticCheckpoint more = MlpUtils();
  more.AddRandom("experts.2.net.0.weight", {7, 4});
  EXPECT_THAT(ErrorOf(more, json), HasSubstr("found 3, wanted 2"));
}

SyntheticCheckpoint Distilled(int64_t banks) {
  SyntheticCheckpoint made;
  made.AddRandom("route_weight", {3, 1, 5});
  made.AddRandom("leaf_weight", {banks, 2, 5});
  return made.AddRandom("leaf_output", {banks, 2, 6});
}

std::string Distill(const std::string& arguments) {
  return Layer(R"("activation": "relu", "arguments": {)" + arguments + "}");
}

TEST(LayoutsTest, WhatNoTensorOfFffdistillTellsMustBeSaid) {
  const std::string leak = R"("region_leak": 0.25)";
  EXPECT_TRUE(Build(Distilled(4), Distill(leak)).ok());
  EXPECT_THAT(ErrorOf(Distilled(4), Layer(R"("activation": "relu")")),
              HasSubstr("\"region_leak\": ..} is missing"));
  EXPECT_THAT(ErrorOf(Distilled(5), Distill(leak)),
              HasSubstr("\"master_leaf\": ..} is missing"));
  EXPECT_TRUE(
      Build(Distilled(5), Distill(leak + R"(, "fallback_leaf": true)")).ok());
  EXPECT_THAT(ErrorOf(Distilled(7), Distill(leak)),
              HasSubstr("\"leaf_weight\": found 7 banks, wanted 4 leaves"));
  SyntheticCheckpoint rows = Distilled(4);
  rows.AddRandom("route_result_weight", {3, 2, 5});
  rows.AddRandom("route_result_output", {3, 2, 6});
  EXPECT_THAT(ErrorOf(rows, Distill(leak)),
              HasSubstr("\"route_rows_output_count\": ..} is missing"));
  EXPECT_THAT(
      ErrorOf(rows, Distill(leak + R"(, "route_rows_output_count": 3)")),
      HasSubstr("found 3 rows of a node that answer"));
}

TEST(LayoutsTest, OtherConventionsHaveNoArguments) {
  SyntheticCheckpoint made;
  made.AddLeafLayer("", 6, 2, 3, 2);
  EXPECT_THAT(ErrorOf(made, Layer(R"("arguments": {"region_leak": 0})")),
              HasSubstr("\"fastfeedforward\" has none"));
}

}  // namespace
}  // namespace fff::model
