#include "server/importer/detect.h"

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fff::importer {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
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

Named Without(Named named, const std::string& name) {
  Named kept;
  for (const auto& tensor : named) {
    if (tensor.first != name) kept.push_back(tensor);
  }
  return kept;
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

std::string Detected(const Named& named, const DetectionHints& hints = {}) {
  const auto detected = DetectConvention(Shapes(named), hints);
  return detected.ok() ? std::string((*detected)->name)
                       : std::string(detected.status().message());
}

DetectionHints Hint(const char* convention) {
  DetectionHints hints;
  hints.convention = FindConvention(convention);
  EXPECT_NE(hints.convention, nullptr) << convention;
  return hints;
}

TEST(DetectTest, TellsAConventionFromNamesAndRanks) {
  EXPECT_THAT(Names(Shapes(Leaf(3))), ElementsAre("fastfeedforward"));
  EXPECT_THAT(Names(Shapes(Leaf(0))), ElementsAre("fastfeedforward"));
  EXPECT_THAT(Names(Shapes(Plus(Leaf(3), kMagic))), ElementsAre("master-leaf"));
  EXPECT_THAT(Names(Shapes({{"weight", {3, 4}}})), IsEmpty());
}

TEST(DetectTest, NamesOfSeveralCodeBasesAreAllListed) {
  EXPECT_THAT(Names(Shapes(kBmm)),
              ElementsAre("ultrafastbert-bmm", "ultrafastbert-sparse",
                          "sap-fff-w1s", "sap-fff-jax"));
  EXPECT_THAT(Names(Shapes(kSap)),
              ElementsAre("sap-fff", "sap-fff-recursive", "sap-pislice-relu",
                          "sap-pislice-topk"));
  EXPECT_THAT(Names(Shapes(kPair)),
              ElementsAre("ultrafastbert", "catid-fff-fanout"));
}

TEST(DetectTest, ShapesSettleWhatNamesDoNot) {
  EXPECT_EQ(Detected(kPair), "ultrafastbert");
  // 31 rows of width 6 as one column.
  EXPECT_EQ(Detected({{"w1s", {186, 1}}, {"w2s", {31, 4}}}),
            "ultrafastbert-sparse");
  // 40 rows are no trees of two ways, but two of four ways.
  EXPECT_THAT(Detected({{"linear_in.weight", {40, 6}},
                        {"linear_in.bias", {40}},
                        {"linear_out.weight", {4, 40}}}),
              HasSubstr("\"catid-fff-fanout\" (catid/cifar10deepspeed "
                        "FFFFanout) is not served yet"));
}

TEST(DetectTest, AQuestionWhereBothAreTrees) {
  // 8 trees of two ways and 15 rows, or 3 of five ways and 40 rows.
  const Named both = {{"linear_in.weight", {120, 6}},
                      {"linear_in.bias", {120}},
                      {"linear_out.weight", {4, 120}}};
  EXPECT_THAT(Detected(both), AllOf(HasSubstr("\"ultrafastbert\""),
                                    HasSubstr("\"catid-fff-fanout\"")));
  DetectionHints hints;
  hints.trees = 8;
  EXPECT_EQ(Detected(both, hints), "ultrafastbert");
}

TEST(DetectTest, EachCandidateComesWithItsLineOfConfig) {
  EXPECT_THAT(Detected(kBmm),
              AllOf(HasSubstr("set \"convention\""),
                    HasSubstr(R"({"type": "fff", "convention": )"
                              R"("ultrafastbert-bmm"})"),
                    HasSubstr(R"({"type": "fff", "convention": )"
                              R"("sap-fff-w1s"})"),
                    HasSubstr(R"({"type": "fff", "convention": )"
                              R"("sap-fff-jax"})")));
  EXPECT_THAT(Detected(kSap), HasSubstr("\"sap-pislice-topk\" (sap-ient-ai/FFF "
                                        "PiSlice_topk), which fits, too, is "
                                        "not served yet"));
}

TEST(DetectTest, WithoutATreeItIsNoTreeLayer) {
  const Named rows = {{"X", {17, 6}}, {"Y", {17, 4}}};
  EXPECT_THAT(Detected(rows),
              AllOf(HasSubstr("What fits: {\"type\": \"fff\", "
                              "\"convention\": \"sap-pislice-relu\"}"),
                    HasSubstr("\"sap-fff\" has its names but not its shapes: "
                              "tensor \"X\": found 17 node rows")));
  EXPECT_EQ(Detected(rows, Hint("sap-pislice-relu")), "sap-pislice-relu");
}

TEST(DetectTest, ALeafLayerWithoutDepthAddsItsOutputBiasUnlessNamed) {
  const Named leaf = Without(Leaf(2), "depth");
  EXPECT_EQ(Detected(leaf), "fastfeedforward");
  EXPECT_EQ(Detected(leaf, Hint("fff-memoryacc")), "fff-memoryacc");
  EXPECT_EQ(Detected(Without(leaf, "b2s")), "fastfeedforward");
}

TEST(DetectTest, ConfigSaysEnoughWhenTheCandidatesDifferInNothingElse) {
  DetectionHints hints;
  hints.family = Family::kPath;
  EXPECT_THAT(Detected(kSap, hints), HasSubstr("\"sap-fff-recursive\""));
  hints.tie = graph::Tie::kLeft;
  EXPECT_EQ(Detected(kSap, hints), "sap-fff");
  hints.activation = graph::Activation::kIdentity;
  EXPECT_THAT(Detected(kBmm, hints), HasSubstr("\"sap-fff-jax\""));
}

TEST(DetectTest, AnotherCodesTensorIsForeign) {
  for (const auto& [tensor, owner] :
       std::vector<std::pair<std::string, std::string>>{
           {"dense_in.weight", "catid-fff-and-mlp"},
           {"activation.weight", "fastff-ufbert-prelu"}}) {
    const Named more = Plus(
        kPair, {{tensor, tensor == "activation.weight" ? tensor::Shape{1}
                                                       : tensor::Shape{5, 6}}});
    EXPECT_THAT(Names(Shapes(more)), Not(Contains("ultrafastbert"))) << tensor;
    EXPECT_THAT(
        Detected(more, Hint("ultrafastbert")),
        AllOf(HasSubstr("\"" + tensor + "\" is there"), HasSubstr(owner)));
  }
  EXPECT_THAT(Detected(kPair, Hint("fast-ffn")),
              HasSubstr("\"linear_in.bias\" is there"));
}

TEST(DetectTest, WhatIsNotServedIsRefusedByNameHoweverItIsAskedFor) {
  const Named jgcb = {{"in_weight", {15, 6}},
                      {"in_bias", {15}},
                      {"out_weight", {15, 4}},
                      {"load_balancing_bias", {15}}};
  const char* sentence =
      "convention \"jgcb00\" (jgcb00/FastFeedForward-cuda) is not served yet: "
      "it needs squared ReLU and a threshold per node";
  EXPECT_EQ(Detected(jgcb), sentence);
  EXPECT_EQ(Detected(jgcb, Hint("jgcb00")), sentence);
  EXPECT_EQ(Detected(kSap, Hint("jgcb00")), sentence);
}

TEST(DetectTest, RowsOfOneNameAreOneConvention) {
  const Named basis = {{"basisX", {24, 6}}, {"basisY", {24, 4}}};
  const auto row = DetectConvention(Shapes(basis), Hint("sap-pislice-relu"));
  ASSERT_TRUE(row.ok()) << row.status();
  EXPECT_EQ((*row)->layout->x, "basisX");
  EXPECT_EQ(FindConvention("fastff-ultrafastbert-prelu"),
            FindConvention("fastff-ufbert-prelu"));
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
      AllOf(HasSubstr("set \"convention\""), HasSubstr("\"ultrafastbert-bmm\""),
            HasSubstr("\"sap-fff\"")));
}

TEST(DetectTest, ATieSaysWhichShapesDoNotFit) {
  const Named broken = {{"w1s", {30, 6}}, {"w2s", {30, 4}}};
  const auto both = DetectConvention(Shapes(Plus(kSap, broken)), {});
  EXPECT_THAT(
      std::string(both.status().message()),
      AllOf(HasSubstr("What fits: {\"type\": \"fff\", \"convention\": "
                      "\"sap-fff\"}"),
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
  hints.tie = graph::Tie::kLeft;
  const auto path = DetectConvention(Shapes(Plus(Leaf(3), kSap)), hints);
  ASSERT_TRUE(path.ok()) << path.status();
  EXPECT_EQ((*path)->name, "sap-fff");
}

TEST(DetectTest, NothingRecognisedShowsWhatIsThere) {
  const auto none = DetectConvention(
      Shapes({{"weights_1", {23, 6}}, {"weights_2", {23, 4}}}), {});
  EXPECT_EQ(none.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(none.status().message()),
              AllOf(HasSubstr("\"weights_1 [23, 6]\""),
                    HasSubstr("wanted the tensors of one of "
                              "\"fastfeedforward\"")));
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

TEST(DetectPrefixTest, ALayerMadeOfLayersIsOne) {
  const Named flat = {{"net.0.PathSelector.weight", {3, 6}},
                      {"net.0.Y", {7, 9}},
                      {"net.3.PathSelector.weight", {3, 9}},
                      {"net.3.Y", {7, 6}}};
  EXPECT_EQ(*DetectPrefix(Shapes(flat), {}), "");
  EXPECT_EQ(*DetectPrefix(Shapes(flat, "ff."), {}), "ff.");
  EXPECT_EQ(Detected(flat), "catid-bojan-flat");
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

// What is served, held as one more copy on purpose.
TEST(ConventionTest, TableSaysWhatTheDesignSays) {
  using graph::Activation;
  using graph::Tie;
  constexpr auto kSaid = std::nullopt;  // by config.json
  struct Row {
    const char* name;
    Family family;
    Tie tie;
    std::optional<Activation> activation;
    bool output_bias;
  };
  const Row rows[] = {
      {"fastfeedforward", Family::kLeaf, Tie::kRight, Activation::kRelu, true},
      {"fastfeedforward-0.2.1", Family::kLeaf, Tie::kRight, Activation::kRelu,
       false},
      {"fff-memoryacc", Family::kLeaf, Tie::kRight, Activation::kRelu, false},
      {"master-leaf", Family::kLeaf, Tie::kRight, Activation::kRelu, true},
      {"ultrafastbert", Family::kPath, Tie::kLeft, Activation::kGelu, false},
      {"ultrafastbert-bmm", Family::kPath, Tie::kRight, Activation::kGelu,
       false},
      {"ultrafastbert-sparse", Family::kPath, Tie::kRight, Activation::kGelu,
       false},
      {"ultrafastbert-cuda", Family::kPath, Tie::kLeft, Activation::kGelu,
       false},
      {"sap-fff", Family::kPath, Tie::kLeft, Activation::kIdentity, false},
      {"sap-fff-recursive", Family::kPath, Tie::kRight, Activation::kIdentity,
       false},
      {"sap-fff-w1s", Family::kPath, Tie::kLeft, Activation::kIdentity, false},
      {"sap-fff-jax", Family::kPath, Tie::kLeft, Activation::kIdentity, false},
      {"sap-fff-v2", Family::kPath, Tie::kLeft, Activation::kIdentity, false},
      {"catid-fff-v2", Family::kPath, Tie::kLeft, Activation::kIdentity, false},
      {"catid-bojan-flat", Family::kPath, Tie::kLeft, Activation::kGelu, false},
      {"catid-fff-and-mlp", Family::kPath, Tie::kLeft, Activation::kGelu,
       false},
      {"fast-ffn", Family::kPath, Tie::kRight, kSaid, false},
      {"fastff-ufbert-prelu", Family::kPath, Tie::kLeft, Activation::kIdentity,
       false},
      {"sap-pislice-relu", Family::kNone, Tie::kLeft, Activation::kRelu, false},
      {"fastff", Family::kLeaf, Tie::kLeft, kSaid, true},
      {"fastff-gate", Family::kLeaf, Tie::kLeft, Activation::kRelu, false},
      {"fffdistill", Family::kLeaf, Tie::kLeft, kSaid, true},
      {"linear-leaf", Family::kLeaf, Tie::kLeft, Activation::kIdentity, true},
      {"hyperzens-linear", Family::kLeaf, Tie::kLeft, Activation::kIdentity,
       true},
      {"mlp-utils", Family::kLeaf, Tie::kLeft, kSaid, true}};
  std::set<absl::string_view> served;
  for (const Convention& convention : Conventions()) {
    if (convention.served()) served.insert(convention.name);
    // Of what is not served the remark is the sentence that refuses it.
    EXPECT_TRUE(convention.served() || !convention.remark.empty())
        << convention.name;
    EXPECT_FALSE(convention.source.empty()) << convention.name;
  }
  EXPECT_EQ(served.size(), std::size(rows));
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
