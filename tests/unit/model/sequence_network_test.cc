// Networks of sequences of any length: what becomes of each layer type, and
// what is refused. Graphs alone; kernels have tests of their own.
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/importer/model_config.h"
#include "tests/unit/model/synthetic_checkpoint.h"

namespace fff::model {
namespace {

using graph::Graph;
using test::SyntheticCheckpoint;
using testing::HasSubstr;

constexpr char kTokens[] = R"([{"name": "x", "shape": ["sequence", 4]}])";
constexpr char kMasked[] = R"([
    {"name": "mask", "type": "int32", "shape": ["sequence"], "role": "mask"},
    {"name": "x", "shape": ["sequence", 4]}])";
constexpr char kIds[] =
    R"([{"name": "ids", "type": "int32", "shape": ["sequence"]}])";

SyntheticCheckpoint Tensors() {
  SyntheticCheckpoint tensors;
  tensors.AddRandom("l.weight", {4, 4}).AddRandom("wide.weight", {5, 4});
  tensors.AddRandom("q.weight", {12, 4}).AddRandom("p.table", {3, 4});
  tensors.AddRandom("words.weight", {9, 4}).AddRandom("t.token", {4});
  tensors.AddRandom("conv.weight", {4, 4, 1, 1}).AddRandom("n.weight", {4});
  tensors.Add("bn.running_mean", {4}, {1, 2, 3, 4});
  tensors.Add("bn.running_var", {4}, {1, 1, 1, 1}).Add("s.scale", {1}, {2});
  return tensors.AddLeafLayer("ff.", 4, 2, 4, 2);
}

// Every layer has a prefix, so tensors of others are no leftovers.
absl::StatusOr<Graph> Made(const std::string& input,
                           const std::string& layers) {
  const auto parsed = importer::ParseModelConfig(
      absl::StrCat("{\"input\": ", input, ", \"layers\": [", layers, "]}"),
      "config.json");
  if (!parsed.ok()) return parsed.status();
  return importer::Import(*parsed, Tensors().Build());
}

std::string Printed(const std::string& input, const std::string& layers) {
  const auto graph = Made(input, layers);
  EXPECT_TRUE(graph.ok()) << graph.status() << "\n" << layers;
  return graph.ok() ? graph->Print() : "";
}

std::string Attention(const std::string& more = "") {
  return absl::StrCat(
      R"({"type": "attention", "heads": 2, "qkv": "q.", "layout": "blocks")",
      more, "}");
}

TEST(SequenceNetwork, LayersOfOneTokenJustApply) {
  for (const char* layer :
       {R"({"type": "linear", "prefix": "l."})",
        R"({"type": "layer_norm", "prefix": "n."})",
        R"({"type": "batch_norm", "prefix": "bn."})",
        R"({"type": "normalize", "scale": 0.5})",
        R"({"type": "activation", "activation": "relu"})",
        R"({"type": "fff", "prefix": "ff.", "convention": "fastfeedforward"})",
        R"({"type": "residual", "layers": [
            {"type": "linear", "prefix": "l."}]})"}) {
    EXPECT_THAT(Printed(kTokens, layer), HasSubstr(": F32 [tokens, 4]\noutput"))
        << layer;
  }
}

TEST(SequenceNetwork, PositionsAreATable) {
  auto graph = Made(kTokens, R"({"type": "positions", "kind": "learned",
                                 "tensor": "p.table", "scale": "s.scale"})");
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->tokens_max(), 3);
  const auto& learned = std::get<graph::Positions>(graph->nodes()[0].op);
  const std::vector<float> table = Tensors().ValuesOf("p.table");
  ASSERT_EQ(learned.weights->table.size(), 12);
  EXPECT_EQ(learned.weights->table[11], 2 * table[11]);
  graph = Made(kTokens, R"({"type": "positions", "kind": "sinusoidal",
                            "length": 7})");
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->tokens_max(), 7);
  const auto& sines = std::get<graph::Positions>(graph->nodes()[0].op);
  EXPECT_EQ(sines.weights->table[1], 1);               // cos 0
  EXPECT_EQ(sines.weights->table[4], std::sin(1.0F));  // place 1
  EXPECT_FLOAT_EQ(sines.weights->table[7], std::cos(0.01F));
  graph = Made(kTokens, R"({"type": "positions", "kind": "sinusoidal"})");
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->tokens_max(), 4096);
}

TEST(SequenceNetwork, AttentionSeesTheMaskOnlyWhereItSaysSo) {
  EXPECT_THAT(Printed(kMasked, Attention()),
              HasSubstr("attention(%2) 2 heads of 2 over all tokens: F32"));
  const auto graph = Made(kMasked, Attention(R"(, "mask_value": -100)"));
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_THAT(graph->Print(), HasSubstr("attention(%2, %0) 2 heads of 2 over "
                                        "all tokens, masked: F32"));
  const auto& op = std::get<graph::Attention>(graph->nodes()[1].op);
  EXPECT_EQ(op.problem().mask_value, -100);
  EXPECT_EQ(op.problem().input_width, 12);
  EXPECT_EQ(op.problem().output_width, 4);
}

TEST(SequenceNetwork, PoolsAllTokensOrThoseOfTheMask) {
  for (const char* over : {"mean", "max", "logsumexp", "first"}) {
    const std::string pool =
        absl::StrCat(R"({"type": "pool", "over": ")", over, "\"");
    EXPECT_THAT(Printed(kMasked, pool + "}"),
                HasSubstr(absl::StrCat("pool_tokens(%1) ", over,
                                       " of all tokens of 4: F32 [rows, 4]")));
    EXPECT_THAT(Printed(kMasked, pool + R"(, "masked": true})"),
                HasSubstr("pool_tokens(%1, %0)"));
  }
}

TEST(SequenceNetwork, SequencesOfOneLengthMayBeMaskedToo) {
  const std::string input = R"([
      {"name": "x", "shape": [3, 4]},
      {"name": "m", "type": "int64", "shape": [3], "role": "mask"}])";
  EXPECT_THAT(Printed(input, absl::StrCat(Attention(R"(, "mask_value": -1)"),
                                          R"(, {"type": "pool", "over": "first",
                                        "masked": true})")),
              testing::AllOf(HasSubstr("over 3 tokens, masked"),
                             HasSubstr("first of 3 tokens of 4, masked")));
  const auto ids = Made(R"({"datatype": "INT64", "shape": [3]})",
                        R"({"type": "embedding", "prefix": "words."})");
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(ids->outputs()[0].shape, (tensor::Shape{3, 4}));
  EXPECT_EQ(ids->inputs()[0].limit, 9);
}

TEST(SequenceNetwork, RefusesWhatNeedsOneLengthOrHasNoMask) {
  struct Refused {
    const char* input;
    std::string layers;
    const char* why;
  };
  const Refused cases[] = {
      {kTokens, R"({"type": "flatten"})", "got sequences of any length"},
      {kTokens, R"({"type": "class_token", "tensor": "t.token"})",
       "got sequences of any length, wanted sequences of one length"},
      {kTokens, R"({"type": "patches", "size": 2})",
       "got sequences of any length, wanted a picture"},
      {kTokens, R"({"type": "conv2d", "prefix": "conv."})",
       "got sequences of any length, wanted a picture"},
      {kTokens, Attention(R"(, "mask_value": -1)"),
       "\"mask_value\" is for networks with a mask"},
      {kTokens, R"({"type": "pool", "over": "max", "masked": true})",
       "\"masked\" is for networks with a mask"},
      {kTokens, R"({"type": "embedding", "prefix": "words."})",
       "got elements of type F32, wanted I32"},
      {kIds, R"({"type": "linear", "prefix": "l."})",
       "got elements of type I32, wanted F32"},
      {kIds, R"({"type": "embedding", "prefix": "token."})", "is missing"},
      {R"([{"name": "x", "shape": ["sequence", 2, 4]}])", Attention(),
       "got [2, 4] per token"},
      {R"([{"name": "x", "shape": ["sequence", 5]}])",
       R"({"type": "linear", "prefix": "l."})",
       "got tokens of width 5 from input \"x\", wanted 4"},
      {kTokens, R"({"type": "residual", "layers": [
                    {"type": "linear", "prefix": "wide."}]})",
       "its layers make [5] per token of [4] per token"},
      {kTokens, R"({"type": "residual", "layers": [
                    {"type": "pool", "over": "max"}]})",
       "its layers make [4] of [4] per token"},
      {R"([{"name": "x", "shape": [2, 4]},
           {"name": "m", "type": "int64", "shape": [3], "role": "mask"}])",
       Attention(R"(, "mask_value": -1)"), "got a mask I32 [rows, 3]"},
      {R"({"shape": [3, 4]})",
       R"({"type": "positions", "kind": "sinusoidal", "length": 2})",
       "\"length\": found 2, but the sequence has 3 tokens"},
      {R"([{"name": "x", "shape": ["sequence", 16777216]}])",
       R"({"type": "positions", "kind": "sinusoidal"})",
       "got a table of 4096 positions of 16777216"},
  };
  for (const Refused& refused : cases) {
    const auto graph = Made(refused.input, refused.layers);
    ASSERT_FALSE(graph.ok()) << refused.layers;
    EXPECT_EQ(graph.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(graph.status().message()), HasSubstr("layers[0]"));
    EXPECT_THAT(std::string(graph.status().message()), HasSubstr(refused.why));
  }
}

}  // namespace
}  // namespace fff::model
