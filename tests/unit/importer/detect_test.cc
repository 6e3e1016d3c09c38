#include "server/importer/detect.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fff::importer {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

using Named = std::vector<std::pair<std::string, tensor::Shape>>;

TensorShapes Shapes(const Named& named, const std::string& prefix = "") {
  TensorShapes tensors;
  for (const auto& [name, shape] : named) {
    tensors.shapes[prefix + name] = shape;
  }
  return tensors;
}

Named Leaf(int depth) {
  const int64_t leaves = int64_t{1} << depth;
  return {{"depth", {}},
          {"node_weights", {leaves - 1, 6}},
          {"node_biases", {leaves - 1, 1}},
          {"w1s", {leaves, 6, 3}},
          {"b1s", {leaves, 3}},
          {"w2s", {leaves, 3, 4}},
          {"b2s", {leaves, 4}}};
}

Named Plus(Named named, const Named& more) {
  named.insert(named.end(), more.begin(), more.end());
  return named;
}

const Named kMagic = {{"magic_w1", {1, 6, 8}},
                      {"magic_b1", {1, 8}},
                      {"magic_w2", {1, 8, 4}},
                      {"magic_b2", {1, 4}},
                      {"k", {}}};
const Named kPair = {{"linear_in.weight", {31, 6}},
                     {"linear_in.bias", {31}},
                     {"linear_out.weight", {4, 31}}};
const Named kBmm = {{"w1s", {31, 6}}, {"w2s", {31, 4}}};
const Named kSap = {{"X", {31, 6}}, {"Y", {31, 4}}};

std::vector<std::string> Names(const TensorShapes& tensors) {
  std::vector<std::string> names;
  for (const Convention* convention : ConventionsThatFit(tensors)) {
    names.emplace_back(convention->name);
  }
  return names;
}

TEST(DetectTest, TellsEveryConventionFromNamesAndRanks) {
  EXPECT_THAT(Names(Shapes(Leaf(3))), ElementsAre("fastfeedforward"));
  EXPECT_THAT(Names(Shapes(Leaf(0))), ElementsAre("fastfeedforward"));
  EXPECT_THAT(Names(Shapes(Plus(Leaf(3), kMagic))), ElementsAre("master-leaf"));
  EXPECT_THAT(Names(Shapes(kPair)), ElementsAre("ultrafastbert"));
  EXPECT_THAT(Names(Shapes(kBmm)), ElementsAre("ultrafastbert-bmm"));
  EXPECT_THAT(Names(Shapes(kSap)), ElementsAre("sap-fff"));
  EXPECT_THAT(Names(Shapes({{"weight", {3, 4}}})), IsEmpty());
}

TEST(DetectTest, NeverDetectsTheReleaseThatDropsTheBias) {
  EXPECT_THAT(Names(Shapes(Leaf(2))),
              Not(ElementsAre("fastfeedforward-0.2.1")));
  DetectionHints hints;
  hints.convention = FindConvention("fastfeedforward-0.2.1");
  const auto detected = DetectConvention(Shapes(Leaf(2)), hints);
  ASSERT_TRUE(detected.ok());
  EXPECT_FALSE((*detected)->output_bias);
}

TEST(DetectTest, ATieNamesWhatFits) {
  const auto both = DetectConvention(Shapes(Plus(kSap, kBmm)), {});
  EXPECT_EQ(both.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(
      std::string(both.status().message()),
      AllOf(HasSubstr("set \"convention\""),
            HasSubstr("What fits: \"ultrafastbert-bmm\", \"sap-fff\"")));
}

TEST(DetectTest, ATieSaysWhichShapesDoNotFit) {
  const Named broken = {{"w1s", {30, 6}}, {"w2s", {30, 4}}};
  const auto both = DetectConvention(Shapes(Plus(kSap, broken)), {});
  EXPECT_THAT(
      std::string(both.status().message()),
      AllOf(HasSubstr("What fits: \"sap-fff\";"),
            HasSubstr("\"ultrafastbert-bmm\" has its names but not "
                      "its shapes: tensor \"w1s\": found 30 node rows")));
}

TEST(DetectTest, AFamilyInTheConfigBreaksATie) {
  DetectionHints hints;
  hints.family = Family::kLeaf;
  const auto leaf = DetectConvention(Shapes(Plus(Leaf(3), kSap)), hints);
  ASSERT_TRUE(leaf.ok()) << leaf.status();
  EXPECT_EQ((*leaf)->name, "fastfeedforward");
  hints.family = Family::kPath;
  const auto path = DetectConvention(Shapes(Plus(Leaf(3), kSap)), hints);
  ASSERT_TRUE(path.ok()) << path.status();
  EXPECT_EQ((*path)->name, "sap-fff");
}

TEST(DetectTest, NothingRecognisedShowsWhatIsThere) {
  const auto none = DetectConvention(
      Shapes({{"weights_in", {23, 6}}, {"weights_out", {23, 4}}}), {});
  EXPECT_EQ(none.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(none.status().message()),
              AllOf(HasSubstr("\"weights_in [23, 6]\""),
                    HasSubstr("wanted the tensors of one of fastfeedforward")));
  EXPECT_THAT(std::string(DetectConvention({}, {}).status().message()),
              HasSubstr("found no tensors"));
}

TEST(DetectPrefixTest, FindsTheOnlyPrefix) {
  EXPECT_EQ(*DetectPrefix(Shapes(Leaf(2)), {}), "");
  EXPECT_EQ(*DetectPrefix(Shapes(Leaf(2), "fff."), {}), "fff.");
  EXPECT_EQ(*DetectPrefix(Shapes(Leaf(0), "fff."), {}), "fff.");
  EXPECT_EQ(*DetectPrefix(Shapes(kPair, "module.ffn."), {}), "module.ffn.");
  EXPECT_EQ(*DetectPrefix(Shapes(kSap, "module."), {}), "module.");
  EXPECT_EQ(*DetectPrefix(Shapes(kBmm, "a.b."), {}), "a.b.");
}

TEST(DetectPrefixTest, SeveralPrefixesAreListed) {
  TensorShapes tensors = Shapes(kPair, "layers.0.ffn.");
  for (auto& [name, shape] : Shapes(kPair, "layers.1.ffn.").shapes) {
    tensors.shapes[name] = shape;
  }
  const auto prefix = DetectPrefix(tensors, {});
  EXPECT_EQ(prefix.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(prefix.status().message()),
              AllOf(HasSubstr("set \"prefix\""),
                    HasSubstr("\"layers.0.ffn.\", \"layers.1.ffn.\"")));
}

TEST(DetectPrefixTest, ANamedConventionNarrowsThePrefixes) {
  TensorShapes tensors = Shapes(kPair, "a.");
  for (auto& [name, shape] : Shapes(kSap, "b.").shapes) {
    tensors.shapes[name] = shape;
  }
  EXPECT_FALSE(DetectPrefix(tensors, {}).ok());
  DetectionHints hints;
  hints.convention = FindConvention("sap-fff");
  EXPECT_EQ(*DetectPrefix(tensors, hints), "b.");
  hints = {};
  hints.family = Family::kPath;
  EXPECT_FALSE(DetectPrefix(tensors, hints).ok());
}

// The convention table of the design, held as one more copy on purpose.
TEST(ConventionTest, TableSaysWhatTheDesignSays) {
  using graph::Activation;
  using graph::Tie;
  struct Row {
    const char* name;
    Family family;
    Tie tie;
    Activation activation;
    bool output_bias;
  };
  const Row rows[] = {
      {"fastfeedforward", Family::kLeaf, Tie::kRight, Activation::kRelu, true},
      {"fastfeedforward-0.2.1", Family::kLeaf, Tie::kRight, Activation::kRelu,
       false},
      {"master-leaf", Family::kLeaf, Tie::kRight, Activation::kRelu, true},
      {"ultrafastbert", Family::kPath, Tie::kLeft, Activation::kGelu, false},
      {"ultrafastbert-bmm", Family::kPath, Tie::kRight, Activation::kGelu,
       false},
      {"sap-fff", Family::kPath, Tie::kLeft, Activation::kIdentity, false}};
  ASSERT_EQ(Conventions().size(), std::size(rows));
  for (const Row& row : rows) {
    const Convention* convention = FindConvention(row.name);
    ASSERT_NE(convention, nullptr) << row.name;
    EXPECT_EQ(convention->family(), row.family) << row.name;
    EXPECT_EQ(convention->tie, row.tie) << row.name;
    EXPECT_EQ(convention->activation, row.activation) << row.name;
    EXPECT_EQ(convention->output_bias, row.output_bias) << row.name;
  }
  EXPECT_EQ(FindConvention("fff"), nullptr);
}

}  // namespace
}  // namespace fff::importer
