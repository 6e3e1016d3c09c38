// "input" and "batching" of networks of sequences, and layers that see them.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/importer/model_config.h"

namespace fff::importer {
namespace {

using tensor::DataType;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

ModelConfig Parsed(const std::string& json) {
  const auto config = ParseModelConfig(json, "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : ModelConfig();
}

ModelConfig WithInput(const std::string& input) {
  return Parsed(absl::StrCat("{\"input\": ", input, "}"));
}

TEST(InputConfigTest, AnObjectIsOneInputOfFloats) {
  const ModelConfig config = WithInput(R"({"name": "x", "shape": [3, 8]})");
  ASSERT_EQ(config.inputs.size(), 1U);
  EXPECT_EQ(config.inputs[0].name, "x");
  EXPECT_EQ(config.inputs[0].data_type, DataType::kF32);
  EXPECT_THAT(config.inputs[0].shape, ElementsAre(3, 8));
  EXPECT_FALSE(config.inputs[0].sequence);
  EXPECT_FALSE(config.inputs[0].mask);
  EXPECT_FALSE(config.inputs[0].optional);
}

TEST(InputConfigTest, AnObjectMayBeASequence) {
  const ModelConfig config =
      WithInput(R"({"datatype": "INT32", "shape": ["sequence"]})");
  EXPECT_EQ(config.inputs[0].data_type, DataType::kI32);
  EXPECT_TRUE(config.inputs[0].sequence);
  EXPECT_THAT(config.inputs[0].shape, IsEmpty());
}

TEST(InputConfigTest, ReadsEveryDatatypeInAnyCase) {
  const std::pair<const char*, DataType> all[] = {
      {"FP32", DataType::kF32},  {"fp32", DataType::kF32},
      {"UINT8", DataType::kU8},  {"uint8", DataType::kU8},
      {"INT32", DataType::kI32}, {"Int32", DataType::kI32},
      {"INT64", DataType::kI64}, {"int64", DataType::kI64}};
  for (const auto& [name, data_type] : all) {
    for (const char* key : {"type", "datatype"}) {
      const ModelConfig config = WithInput(
          absl::StrCat("{\"", key, "\": \"", name, "\", \"shape\": [4]}"));
      EXPECT_EQ(config.inputs[0].data_type, data_type) << name;
    }
  }
}

TEST(InputConfigTest, AListHasIdsAndAMaskThatMayBeLeftOut) {
  const ModelConfig config = WithInput(R"([
      {"name": "input_ids", "datatype": "INT64", "shape": ["sequence"]},
      {"name": "attention_mask", "datatype": "INT64", "shape": ["sequence"],
       "role": "mask"}])");
  ASSERT_EQ(config.inputs.size(), 2U);
  EXPECT_EQ(config.inputs[0].name, "input_ids");
  EXPECT_FALSE(config.inputs[0].mask);
  EXPECT_FALSE(config.inputs[0].optional);
  EXPECT_TRUE(config.inputs[1].mask);
  EXPECT_TRUE(config.inputs[1].optional);
  EXPECT_TRUE(config.inputs[1].sequence);
}

TEST(InputConfigTest, AMaskMayBeRequiredAndComeFirst) {
  const ModelConfig config = WithInput(R"([
      {"name": "m", "type": "int32", "shape": [7], "role": "mask",
       "optional": false},
      {"name": "x", "shape": [7, 48], "role": "data", "optional": false}])");
  EXPECT_TRUE(config.inputs[0].mask);
  EXPECT_FALSE(config.inputs[0].optional);
  EXPECT_THAT(config.inputs[1].shape, ElementsAre(7, 48));
}

TEST(InputConfigTest, TokensOfFloatsHaveAShapeOfTheirOwn) {
  const ModelConfig config =
      WithInput(R"([{"name": "x", "shape": ["sequence", 48]}])");
  EXPECT_TRUE(config.inputs[0].sequence);
  EXPECT_THAT(config.inputs[0].shape, ElementsAre(48));
}

TEST(InputConfigTest, BatchesAreBoundedInTokens) {
  EXPECT_EQ(Parsed("{}").batching.max_batch_tokens, 4096);
  EXPECT_EQ(Parsed(R"({"batching": {"max_batch_tokens": 16777216}})")
                .batching.max_batch_tokens,
            16777216);
}

TEST(InputConfigTest, ReadsWhatLayersOfSequencesSay) {
  const ModelConfig config = Parsed(R"({"layers": [
      {"type": "embedding", "prefix": "e."},
      {"type": "positions", "kind": "sinusoidal", "length": 65536},
      {"type": "attention", "heads": 3, "qkv": "q.", "layout": "heads",
       "mask_value": -10000},
      {"type": "attention", "heads": 3, "qkv": "q.", "layout": "heads",
       "mask_value": 0},
      {"type": "pool", "over": "first", "masked": true}]})");
  ASSERT_EQ(config.layers.size(), 5U);
  EXPECT_EQ(config.layers[0].prefix, "e.");
  EXPECT_EQ(config.layers[1].length, 65536);
  EXPECT_EQ(config.layers[2].mask_value, -10000);
  EXPECT_EQ(config.layers[3].mask_value, 0);
  EXPECT_EQ(config.layers[4].over, graph::PoolTokensProblem::Over::kFirst);
  EXPECT_TRUE(config.layers[4].masked);
}

struct Bad {
  std::string json;
  std::string message;
};

class BadInputTest : public ::testing::TestWithParam<Bad> {};

TEST_P(BadInputTest, IsRefusedWithAnExactMessage) {
  const auto config = ParseModelConfig(GetParam().json, "config.json");
  ASSERT_FALSE(config.ok()) << GetParam().json;
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(config.status().message()),
              HasSubstr("config.json: " + GetParam().message));
}

std::string Input(const std::string& text) {
  return absl::StrCat("{\"input\": ", text, "}");
}

// A list of ids and one more entry.
std::string WithIds(const std::string& more) {
  return Input(absl::StrCat(
      R"([{"name": "ids", "type": "int64", "shape": ["sequence"]}, )", more,
      "]"));
}

std::string Layer(const std::string& text) {
  return absl::StrCat("{\"layers\": [", text, "]}");
}

INSTANTIATE_TEST_SUITE_P(
    Inputs, BadInputTest,
    ::testing::Values(
        Bad{Input("3"), "input: found the number 3, wanted an object"},
        Bad{Input("[]"),
            "input: found an array of 0, wanted an array of 1 to "
            "8 elements"},
        Bad{Input("[1,2,3,4,5,6,7,8,9]"), "input: found an array of 9"},
        Bad{Input("[1]"), "input[0]: found the number 1, wanted an object"},
        Bad{Input(R"([{"shape": [3]}])"), "input[0].name: this key is missing"},
        Bad{Input(R"([{"name": "", "shape": [3]}])"),
            "input[0].name: found an empty string"},
        Bad{Input(R"([{"name": "x"}])"), "input[0].shape: this key is missing"},
        Bad{Input(R"([{"name": "x", "shape": []}])"),
            "input[0].shape: found an array of 0"},
        Bad{Input(R"([{"name": "x", "shape": [3, "sequence"]}])"),
            "input[0].shape[1]: found the string \"sequence\", wanted an "
            "integer"},
        Bad{Input(R"([{"name": "x", "shape": ["tokens", 3]}])"),
            "input[0].shape[0]: found the string \"tokens\""},
        Bad{Input(R"([{"name": "x", "shape": ["sequence"]}])"),
            "input[0].shape: found [\"sequence\"], wanted [\"sequence\", "
            "width]"},
        Bad{Input(R"([{"name": "x", "type": "int64",
                       "shape": ["sequence", 3]}])"),
            "input[0].shape: found [\"sequence\", 3], wanted [\"sequence\"]"},
        Bad{Input(R"({"datatype": "FP64", "shape": [3]})"),
            "input.datatype: found the string \"FP64\", wanted one of "
            "\"FP32\", \"UINT8\", \"INT32\", \"INT64\""},
        Bad{Input(R"({"datatype": 3})"), "input.datatype: found the number 3"},
        Bad{Input(R"({"datatype": "FP32", "type": "FP32"})"),
            "input.type: says the same as \"datatype\""},
        Bad{Input(R"({"role": "mask"})"), "input.role: unknown key"},
        Bad{Input(R"([{"name": "x", "shape": [3], "labels": ["a"]}])"),
            "input[0].labels: unknown key"},
        Bad{Input(R"([{"name": "x", "shape": [3], "optional": true}])"),
            "input[0].optional: found true, but only a mask and positions may "
            "be left out"},
        Bad{Input(R"([{"name": "x", "shape": [3], "role": "queries"}])"),
            "input[0].role: found the string \"queries\", wanted one of "
            "\"data\", \"mask\", \"positions\""}));

INSTANTIATE_TEST_SUITE_P(
    Positions, BadInputTest,
    ::testing::Values(
        Bad{WithIds(R"({"name": "p", "role": "positions"})"),
            "input[1].datatype: positions are \"INT32\" or \"INT64\""},
        Bad{WithIds(R"({"name": "p", "type": "int64", "role": "positions",
                        "shape": [3]})"),
            "input[1].shape: found [3], wanted [\"sequence\"], or none"},
        Bad{WithIds(R"({"name": "p", "type": "int64", "role": "positions",
                        "optional": false})"),
            "input[1].optional: found false, but positions may always be"},
        Bad{WithIds(R"({"name": "p", "type": "int64", "role": "positions"},
                       {"name": "q", "type": "int64", "role": "positions"})"),
            "input[2]: found second positions, wanted one at most"},
        Bad{Input(R"([{"name": "p", "type": "int64", "role": "positions"}])"),
            "input: found no input of data, wanted one"}));

INSTANTIATE_TEST_SUITE_P(
    Masks, BadInputTest,
    ::testing::Values(
        Bad{WithIds(R"({"name": "m", "shape": ["sequence"], "role": "mask"})"),
            "input[1].datatype: a mask is \"INT32\" or \"INT64\""},
        Bad{WithIds(R"({"name": "ids", "type": "int64", "role": "mask",
                        "shape": ["sequence"]})"),
            "input[1].name: found \"ids\" a second time"},
        Bad{WithIds(R"({"name": "m", "type": "int64", "role": "mask",
                        "shape": ["sequence", 2]})"),
            "input[1].shape: found [\"sequence\", 2], wanted [\"sequence\"] or "
            "[tokens]"},
        Bad{WithIds(R"({"name": "m", "type": "int64", "role": "mask",
                        "shape": [8]})"),
            "input[1].shape: found [8] beside [\"sequence\"] of \"ids\""},
        Bad{WithIds(R"({"name": "m", "type": "int64", "shape": ["sequence"]})"),
            "input[1]: found a second input of data"},
        Bad{WithIds(R"({"name": "m", "type": "int64", "role": "mask",
                        "shape": ["sequence"]},
                       {"name": "n", "type": "int64", "role": "mask",
                        "shape": ["sequence"]})"),
            "input[2]: found a second mask, wanted one at most"},
        Bad{Input(R"([{"name": "m", "type": "int64", "role": "mask",
                       "shape": ["sequence"]}])"),
            "input: found no input of data, wanted one"}));

INSTANTIATE_TEST_SUITE_P(
    Layers, BadInputTest,
    ::testing::Values(
        Bad{R"({"batching": {"max_batch_tokens": 0}})",
            "batching.max_batch_tokens: found the number 0, wanted an integer "
            "from 1 to 16777216"},
        Bad{R"({"batching": {"max_batch_tokens": 16777217}})",
            "batching.max_batch_tokens"},
        Bad{Layer(R"({"type": "positions", "kind": "sinusoidal",
                      "length": 65537})"),
            "layers[0].length: found the number 65537"},
        Bad{Layer(R"({"type": "positions", "kind": "learned", "tensor": "t",
                      "length": 3})"),
            "layers[0].length: is for \"kind\": \"sinusoidal\" alone"},
        Bad{Layer(R"({"type": "attention", "heads": 1, "qkv": "q.",
                      "layout": "heads", "mask_value": 1})"),
            "layers[0].mask_value: found 1, wanted a float32 number that is 0 "
            "or less"},
        Bad{Layer(R"({"type": "attention", "heads": 1, "qkv": "q.",
                      "layout": "heads", "mask_value": -1e300})"),
            "layers[0].mask_value: found -1e+300"},
        Bad{Layer(R"({"type": "attention", "heads": 1, "qkv": "q.",
                      "layout": "heads", "mask_value": "low"})"),
            "layers[0].mask_value: found the string"},
        Bad{Layer(R"({"type": "pool", "over": "mean", "masked": 1})"),
            "layers[0].masked: found the number 1, wanted true or false"},
        Bad{Layer(R"({"type": "embedding", "tensor": "t"})"),
            "layers[0].tensor: unknown key, allowed are type, prefix"}));

}  // namespace
}  // namespace fff::importer
