#include "server/model/proof.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/model/synthetic_checkpoint.h"

namespace fff::model {
namespace {

using test::SyntheticCheckpoint;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// One tree of one node over three inputs: y = gelu(z) * 1, then a second level
// by the sign of z, whose nodes answer 10 gelu and 20 gelu of the last input.
std::shared_ptr<const Model> Tree() {
  SyntheticCheckpoint checkpoint;
  checkpoint.Add("X", {3, 3}, {1, -1, 0, 0, 0, 1, 0, 0, 1})
      .Add("Y", {3, 1}, {1, 10, 20});
  importer::ModelConfig config;
  config.layers.resize(1);
  config.layers[0].convention = "sap-fff";
  return *test::BuildFrom(config, checkpoint.Build());
}

Example ExampleWith(const Model& model, std::vector<float> x,
                    std::vector<float> y) {
  const auto rows = static_cast<int64_t>(y.size());
  SyntheticCheckpoint file("example.safetensors");
  file.Add("input.input", {rows, 3}, std::move(x))
      .Add("output.output", {rows, 1}, std::move(y));
  auto example = Example::Read(file.Build(), model.graph());
  EXPECT_TRUE(example.ok()) << example.status();
  return *std::move(example);
}

// The example whose answers are the model's own, moved by `moved`.
Example ExampleOf(const Model& model, std::vector<float> x,
                  const std::vector<float>& moved) {
  std::vector<float> y = test::RunModel(model, x);
  for (size_t i = 0; i < y.size(); ++i) y[i] += moved[i];
  return ExampleWith(model, std::move(x), std::move(y));
}

TEST(ProofTest, ARowWhoseDecisionRoundingMayTurnIsNotCompared) {
  const auto model = Tree();
  // z is 2^-23, less than rounding of its terms; 1; -1.
  const float near = 1.0F + std::ldexp(1.0F, -23);
  const std::vector<float> x = {near, 1, 1, 2, 1, 1, 1, 2, 1};
  const Example example = ExampleOf(*model, x, {10, 0, 0});
  const Rounding rounding = FindRounding(*model, example);
  EXPECT_THAT(rounding.undecided, ElementsAre(true, false, false));
  const auto proof = Prove(*model, example, rounding);
  ASSERT_TRUE(proof.ok()) << proof.status();
  EXPECT_EQ(proof->rows, 3);
  EXPECT_EQ(proof->undecided, 1);
  EXPECT_THAT(proof->ToString(),
              HasSubstr("proven on cpu by 2 of 3 rows of example.safetensors"));
}

TEST(ProofTest, AnExactTieIsDecided) {
  const auto model = Tree();
  // All of the row's terms are zero: rounding moves nothing.
  const Example example = ExampleOf(*model, {0, 0, 0}, {1});
  const Rounding rounding = FindRounding(*model, example);
  EXPECT_THAT(rounding.undecided, ElementsAre(false));
  EXPECT_FALSE(Prove(*model, example, rounding).ok());
}

TEST(ProofTest, TheElementThatIsFurthestOffIsNamed) {
  const auto model = Tree();
  const std::vector<float> x = {2, 1, 1, 3, 1, 1, 1, 2, 1};
  const Example example = ExampleOf(*model, x, {0.001F, 0, -0.5F});
  const Rounding rounding = FindRounding(*model, example);
  for (const double tolerance : rounding.tolerances[0]) {
    EXPECT_GT(tolerance, 0);
    EXPECT_LT(tolerance, 2e-4);
  }
  const auto proof = Prove(*model, example, rounding);
  ASSERT_EQ(proof.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(proof.status().message()),
              HasSubstr("the answer on cpu is another: output \"output\", row "
                        "2, column 0: got "));
  EXPECT_THAT(std::string(proof.status().message()),
              HasSubstr(" there; 2 of 3 rows differ by more"));
}

TEST(ProofTest, WhatRoundingExplainsIsNoDifference) {
  const auto model = Tree();
  const std::vector<float> x = {2, 1, 1, 3, 1, 1, 1, 2, 1};
  const std::vector<double> tolerances =
      FindRounding(*model, ExampleOf(*model, x, {0, 0, 0})).tolerances[0];
  const auto moved = static_cast<float>(
      0.9 * *std::min_element(tolerances.begin(), tolerances.end()));
  const Example example = ExampleOf(*model, x, {moved, -moved, 0});
  const auto proof = Prove(*model, example, FindRounding(*model, example));
  ASSERT_TRUE(proof.ok()) << proof.status();
  EXPECT_NEAR(proof->difference, moved, 0.2 * moved);
  EXPECT_GE(proof->tolerance, proof->difference);
}

TEST(ProofTest, AnAnswerThatIsNoNumberDiffers) {
  const auto model = Tree();
  const Example example = ExampleOf(*model, {2, 1, 1}, {0});
  const Rounding rounding = FindRounding(*model, example);
  SampleOutputs got(model->graph().outputs(), example.extent());
  got.rows(0).data[0] = std::nanf("");
  const Difference difference = Compare(got, example, rounding);
  EXPECT_EQ(difference.rows, 1);
  EXPECT_EQ(difference.apart, HUGE_VAL);
}

TEST(ProofTest, AnAnswerThatOverflowsProvesNothing) {
  const auto model = Tree();
  // z is beyond what ten times it may be.
  const Example example = ExampleWith(*model, {3e38F, 1, 3e38F}, {0});
  ASSERT_TRUE(std::isinf(test::RunModel(*model, {3e38F, 1, 3e38F})[0]));
  const auto proof = Prove(*model, example, FindRounding(*model, example));
  EXPECT_EQ(proof.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ProofTest, ALargeAnswerHidesNothingInOthers) {
  const auto model = Tree();
  const std::vector<float> x = {2e6F, 1, 3e6F, 3, 1, 1, 1, 2, 1};
  const Example example = ExampleOf(*model, x, {0, 0.001F, 0});
  const auto proof = Prove(*model, example, FindRounding(*model, example));
  ASSERT_EQ(proof.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(proof.status().message()),
              HasSubstr("row 1, column 0: got "));
}

TEST(ProofTest, WhereNoRowIsDecidedNothingIsProven) {
  const auto model = Tree();
  const float near = 1.0F + std::ldexp(1.0F, -23);
  const Example example = ExampleOf(*model, {near, 1, 1}, {10});
  const auto proof = Prove(*model, example, FindRounding(*model, example));
  ASSERT_TRUE(proof.ok()) << proof.status();
  EXPECT_EQ(proof->ToString(),
            "not proven: rounding may turn a decision in all 1 rows of "
            "example.safetensors");
}

TEST(ExampleTest, IsReadAsTheShapesOfTheFileSay) {
  const auto model = Tree();
  SyntheticCheckpoint file("a.safetensors");
  file.Add("input.input", {2, 3, 1}, {1, 2, 3, 4, 5, 6})
      .Add("output.output", {2}, {7, 8});
  const auto example = Example::Read(file.Build(), model->graph());
  ASSERT_TRUE(example.ok()) << example.status();
  EXPECT_EQ(example->extent().rows, 2);
  EXPECT_EQ(example->inputs()[0].floats().row(1)[0], 4);
  EXPECT_EQ(example->wanted(0).row(1)[0], 8);
  EXPECT_EQ(example->wanted_per_row(0), 1);
}

TEST(ExampleTest, RowsBeyondTheBoundAreRefusedWhateverTheyMultiplyTo) {
  const auto model = Tree();
  for (const int64_t rows : {int64_t{0}, kExampleTokensMax + 1}) {
    SyntheticCheckpoint file("a.safetensors");
    file.AddRandom("input.input", {rows, 3})
        .AddRandom("output.output", {rows, 1});
    const auto example = Example::Read(file.Build(), model->graph());
    ASSERT_EQ(example.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(
        std::string(example.status().message()),
        HasSubstr("a.safetensors: tensor \"input.input\": found shape ["));
    EXPECT_THAT(std::string(example.status().message()),
                HasSubstr("wanted [rows, 3] with 1 to 4096 rows"));
  }
}

}  // namespace
}  // namespace fff::model
