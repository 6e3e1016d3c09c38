#include "server/importer/model_config.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fff::importer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

ModelConfig Parsed(absl::string_view json) {
  const auto config = ParseModelConfig(json, "m/config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : ModelConfig();
}

TEST(ModelConfigTest, EmptyObjectGivesTheDefaults) {
  const ModelConfig config = Parsed("{}");
  EXPECT_THAT(config.layers, IsEmpty());
  EXPECT_THAT(config.dense_layers, IsEmpty());
  EXPECT_EQ(config.inputs[0].name, "");
  EXPECT_THAT(config.inputs[0].shape, IsEmpty());
  EXPECT_EQ(config.batching.max_batch_rows, 4096);
  EXPECT_EQ(config.batching.max_queue_delay_us, 0);
  EXPECT_EQ(config.batching.max_queue_rows, 65536);
  EXPECT_EQ(config.precision, graph::Precision::kFp32);
  EXPECT_EQ(config.engine, EngineChoice::kFff);
  EXPECT_EQ(config.device, DeviceChoice::kAuto);
  EXPECT_EQ(config.versions.kind, VersionPolicy::Kind::kLatest);
  EXPECT_EQ(config.versions.latest, 1);
  EXPECT_THAT(config.warmup_batch_rows, ElementsAre(1, 64));
}

TEST(ModelConfigTest, ReadsEveryPrecision) {
  EXPECT_EQ(Parsed(R"({"precision": "fp32"})").precision,
            graph::Precision::kFp32);
  EXPECT_EQ(Parsed(R"({"precision": "bf16"})").precision,
            graph::Precision::kBf16);
  const ModelConfig config =
      Parsed(R"({"precision": "int8", "precision_rows": "rows.safetensors"})");
  EXPECT_EQ(config.precision, graph::Precision::kInt8);
  EXPECT_EQ(config.precision_rows, "rows.safetensors");
}

TEST(ModelConfigTest, ReadsTheEntryOfTheCheckpoint) {
  EXPECT_EQ(Parsed("{}").checkpoint_entry, "");
  EXPECT_EQ(
      Parsed(R"({"checkpoint_entry": "ema.state_dict"})").checkpoint_entry,
      "ema.state_dict");
}

TEST(ModelConfigTest, ReadsEveryEngine) {
  EXPECT_EQ(Parsed(R"({"engine": "fff"})").engine, EngineChoice::kFff);
  EXPECT_EQ(Parsed(R"({"engine": "auto"})").engine, EngineChoice::kAuto);
}

TEST(ModelConfigTest, ReadsEveryKeyOfTheDesign) {
  const ModelConfig config = Parsed(R"({
    "layers": [
      {"type": "flatten"},
      {"type": "fff", "convention": "ultrafastbert", "trees": 3,
       "activation": "gelu_tanh", "prefix": "ffn.", "family": "path",
       "tie": "right", "output_bias": false},
      {"type": "layer_norm", "prefix": "norm.", "epsilon": 1e-12},
      {"type": "linear", "prefix": "head.", "activation": "silu"},
      {"type": "activation", "activation": "tanh"}
    ],
    "dense_layers": [{"type": "linear", "prefix": "fc."}],
    "input": {"name": "pixels", "shape": [1, 28, 28]},
    "output": {"name": "scores", "shape": [2], "labels": ["cat", "dog"]},
    "batching": {"max_batch_rows": 16, "max_queue_delay_us": 250,
                 "max_queue_rows": 1024},
    "precision": "fp32",
    "device": "cuda",
    "versions": {"specific": [3, 1]},
    "warmup_batch_rows": [2, 8],
    "accuracy": {"fff": 0.5, "dense": 0.75, "data": "a test set"}
  })");
  EXPECT_EQ(config.accuracy.fff, 0.5);
  EXPECT_EQ(config.accuracy.dense, 0.75);
  EXPECT_EQ(config.accuracy.data, "a test set");
  ASSERT_EQ(config.layers.size(), 5u);
  EXPECT_EQ(config.layers[0].type, "flatten");
  const LayerConfig& fff = config.layers[1];
  EXPECT_EQ(fff.convention, "ultrafastbert");
  EXPECT_EQ(fff.trees, 3);
  EXPECT_EQ(fff.activation, graph::Activation::kGeluTanh);
  EXPECT_EQ(fff.prefix, "ffn.");
  EXPECT_EQ(fff.family, Family::kPath);
  EXPECT_EQ(fff.tie, graph::Tie::kRight);
  EXPECT_EQ(fff.output_bias, false);
  const LayerConfig& norm = config.layers[2];
  EXPECT_EQ(norm.prefix, "norm.");
  EXPECT_EQ(norm.epsilon, 1e-12);
  const LayerConfig& linear = config.layers[3];
  EXPECT_EQ(linear.prefix, "head.");
  EXPECT_EQ(linear.activation, graph::Activation::kSilu);
  EXPECT_EQ(config.layers[4].activation, graph::Activation::kTanh);
  ASSERT_EQ(config.dense_layers.size(), 1u);
  EXPECT_EQ(config.dense_layers[0].prefix, "fc.");
  EXPECT_EQ(config.inputs[0].name, "pixels");
  EXPECT_THAT(config.inputs[0].shape, ElementsAre(1, 28, 28));
  EXPECT_THAT(config.output.labels, ElementsAre("cat", "dog"));
  EXPECT_EQ(config.batching.max_queue_delay_us, 250);
  EXPECT_EQ(config.device, DeviceChoice::kCuda);
  EXPECT_EQ(config.versions.kind, VersionPolicy::Kind::kSpecific);
  EXPECT_THAT(config.versions.specific, ElementsAre(3, 1));
  EXPECT_THAT(config.warmup_batch_rows, ElementsAre(2, 8));
}

TEST(ModelConfigTest, FieldsLeftOutStayUnset) {
  const ModelConfig config = Parsed(R"({"layers": [{"type": "fff"}]})");
  const LayerConfig& fff = config.layers[0];
  EXPECT_EQ(fff.convention, "");
  EXPECT_EQ(fff.activation, std::nullopt);
  EXPECT_EQ(fff.trees, std::nullopt);
  EXPECT_EQ(fff.family, std::nullopt);
  EXPECT_EQ(fff.tie, std::nullopt);
  EXPECT_EQ(fff.output_bias, std::nullopt);
}

TEST(ModelConfigTest, TakesAWholeNumberHoweverItIsWritten) {
  const ModelConfig config = Parsed(R"({
    "layers": [{"type": "fff", "trees": 3.0}],
    "input": {"shape": [2.8e1, 28]},
    "batching": {"max_batch_rows": 64.0, "max_queue_rows": 1e3,
                 "max_queue_delay_us": -0.0},
    "versions": {"specific": [2.0]}
  })");
  EXPECT_EQ(config.layers[0].trees, 3);
  EXPECT_THAT(config.inputs[0].shape, ElementsAre(28, 28));
  EXPECT_EQ(config.batching.max_batch_rows, 64);
  EXPECT_EQ(config.batching.max_queue_rows, 1000);
  EXPECT_EQ(config.batching.max_queue_delay_us, 0);
  EXPECT_THAT(config.versions.specific, ElementsAre(2));
}

TEST(ModelConfigTest, ANumberIsALabel) {
  EXPECT_THAT(
      Parsed(R"({"output": {"labels": [0, -1, 0.5, "b"]}})").output.labels,
      ElementsAre("0", "-1", "0.5", "b"));
}

TEST(ModelConfigTest, WordsMayHaveCapitals) {
  const ModelConfig config = Parsed(
      R"({"layers": [{"type": "FFF", "convention": "UltraFastBERT"}],
          "device": "CPU", "precision": "BF16"})");
  EXPECT_EQ(config.layers[0].type, "fff");
  EXPECT_EQ(config.layers[0].convention, "ultrafastbert");
  EXPECT_EQ(config.device, DeviceChoice::kCpu);
  EXPECT_EQ(config.precision, graph::Precision::kBf16);
}

TEST(ModelConfigTest, AcceptsEveryActivationByItsName) {
  const std::vector<std::pair<std::string, graph::Activation>> all = {
      {"relu", graph::Activation::kRelu},
      {"gelu", graph::Activation::kGelu},
      {"gelu_tanh", graph::Activation::kGeluTanh},
      {"silu", graph::Activation::kSilu},
      {"tanh", graph::Activation::kTanh},
      {"sigmoid", graph::Activation::kSigmoid},
      {"identity", graph::Activation::kIdentity}};
  for (const auto& [name, activation] : all) {
    const ModelConfig config =
        Parsed(R"({"layers": [{"type": "activation", "activation": ")" + name +
               R"("}]})");
    ASSERT_EQ(config.layers.size(), 1u) << name;
    EXPECT_EQ(config.layers[0].activation, activation) << name;
  }
}

TEST(ModelConfigTest, WarmupFollowsASmallerBatch) {
  EXPECT_THAT(
      Parsed(R"({"batching": {"max_batch_rows": 8}})").warmup_batch_rows,
      ElementsAre(1, 8));
  EXPECT_THAT(
      Parsed(R"({"batching": {"max_batch_rows": 1}})").warmup_batch_rows,
      ElementsAre(1));
  EXPECT_THAT(Parsed(R"({"warmup_batch_rows": []})").warmup_batch_rows,
              IsEmpty());
}

TEST(ModelConfigTest, VersionsAll) {
  EXPECT_EQ(Parsed(R"({"versions": {"all": true}})").versions.kind,
            VersionPolicy::Kind::kAll);
  EXPECT_EQ(Parsed(R"({"versions": {"latest": 4}})").versions.latest, 4);
}

// One wrong document, and what the message must say.
struct BadConfig {
  const char* name;
  const char* json;
  std::vector<std::string> message;
};

class BadConfigTest : public ::testing::TestWithParam<BadConfig> {};

TEST_P(BadConfigTest, IsRefusedWithAnExactMessage) {
  const auto config = ParseModelConfig(GetParam().json, "m/config.json");
  ASSERT_FALSE(config.ok());
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(config.status().message()),
              ::testing::StartsWith("m/config.json: "));
  for (const std::string& part : GetParam().message) {
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(part));
  }
}

const BadConfig kBadConfigs[] = {
    {"NearKey",
     "{\n \"layers\": [\n  {\"type\": \"fff\", \"conventoin\": \"x\"}]}",
     {"layers[0].conventoin: unknown key, allowed are ",
      "; did you mean \"convention\"? (line 3)"}},
    {"Empty", "", {"not valid JSON"}},
    {"Truncated", R"({"layers": [)", {"not valid JSON"}},
    {"Comment", "{} // note", {"not valid JSON"}},
    {"TrailingComma", R"({"device": "cpu",})", {"not valid JSON"}},
    {"TwoDocuments", "{} {}", {"not valid JSON"}},
    {"BadUtf8", "{\"\xff\": 1}", {"not valid JSON"}},
    {"HugeNumber", R"({"warmup_batch_rows": [1e999]})", {"not valid JSON"}},
    {"NotAnObject",
     "[1]",
     {"the document: found an array of 1, wanted an object"}},
    {"UnknownKey",
     R"({"modle": 1})",
     {"modle: unknown key, allowed are layers, dense_layers, input, output, "
      "checkpoint_entry, batching, precision, precision_rows, engine, device, "
      "non_finite, dense, versions, warmup_batch_rows, accuracy"}},
    {"DenseTwin",
     R"({"dense": "none"})",
     {"dense: found the string \"none\", wanted one of \"on\", \"lazy\", "
      "\"off\""}},
    {"DenseLayersOfNoTwin",
     R"({"dense": "off", "dense_layers": [{"type": "linear"}]})",
     {"dense: found \"off\" beside \"dense_layers\""}},
    {"AccuracyInPercent",
     R"({"accuracy": {"fff": 88.1, "data": "test"}})",
     {"accuracy.fff: found the number 88.1"}},
    {"AccuracyOfNothing",
     R"({"accuracy": {"fff": 0.881}})",
     {"accuracy.data: is missing or empty"}},
    {"UnknownLayerKey",
     R"({"layers": [{"type": "linear"}, {"type": "linear", "bias": true}]})",
     {"layers[1].bias: unknown key, allowed are type, prefix, activation"}},
    {"DuplicateKey",
     R"({"device": "cpu", "device": "cuda"})",
     {R"(key "device" occurs twice)"}},
    {"DuplicateKeyDeepInside",
     R"({"layers": [{"type": "linear", "prefix": "a.", "prefix": "b."}]})",
     {R"(key "prefix" occurs twice)"}},
    {"UnknownLayerType",
     R"({"layers": [{"type": "conv9d"}]})",
     {R"(layers[0].type: found the string "conv9d", wanted one of "linear", )",
      R"("activation", "layer_norm", "rms_norm", "glu", "softmax", "flatten", )"
      R"("fff")"}},
    {"MissingLayerType",
     R"({"layers": [{}]})",
     {"layers[0].type: this key is missing"}},
    {"LayerIsNoObject",
     R"({"layers": ["fff"]})",
     {R"(layers[0]: found the string "fff", wanted an object)"}},
    {"NoLayers",
     R"({"layers": []})",
     {"layers: found an array of 0, wanted an array of 1 to 256"}},
    {"FffInDenseLayers",
     R"({"dense_layers": [{"type": "fff"}]})",
     {R"(dense_layers[0].type: found the string "fff", wanted one of "linear", "activation", "layer_norm", "rms_norm", "glu", "softmax", "flatten", "conv2d")"}},
    {"UnknownConvention",
     R"({"layers": [{"type": "fff", "convention": "sap"}]})",
     {R"(layers[0].convention: found the string "sap", wanted one of "fastfeedforward", "fastfeedforward-0.2.1", "fff-memoryacc", "master-leaf", "ultrafastbert", "ultrafastbert-bmm", )"}},
    {"LeakAboveOne",
     R"({"layers": [{"type": "fff", "arguments": {"region_leak": 1.5}}]})",
     {"layers[0].arguments.region_leak: found 1.5, wanted 0 to 1"}},
    {"UnknownArgument",
     R"({"layers": [{"type": "fff", "arguments": {"leak": 0}}]})",
     {"layers[0].arguments.leak: unknown key, allowed are region_leak, "}},
    {"ConventionNumber",
     R"({"layers": [{"type": "fff", "convention": 3}]})",
     {"layers[0].convention: found the number 3, wanted a string"}},
    {"UnknownActivation",
     R"({"layers": [{"type": "linear"}, {"type": "linear", "activation": "mish"}]})",
     {R"(layers[1].activation: found the string "mish", wanted one of "relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid", "identity")"}},
    {"AnotherGelu",
     R"({"layers": [{"type": "linear", "activation": "quick_gelu"}]})",
     {R"(layers[0].activation: found the string "quick_gelu", wanted one of)"}},
    {"ActivationMissing",
     R"({"layers": [{"type": "activation"}]})",
     {"layers[0].activation: this key is missing"}},
    {"TreesZero",
     R"({"layers": [{"type": "fff", "trees": 0}]})",
     {"layers[0].trees: found the number 0, wanted an integer from 1 to "
      "65536"}},
    {"TreesFraction",
     R"({"layers": [{"type": "fff", "trees": 1.5}]})",
     {"layers[0].trees: found the number 1.5, wanted an integer"}},
    {"TreesMinusOnePointZero",
     R"({"layers": [{"type": "fff", "trees": -1.0}]})",
     {"layers[0].trees: found the number -1.0, wanted an integer"}},
    {"TreesAboveItsRange",
     R"({"layers": [{"type": "fff", "trees": 1e6}]})",
     {"layers[0].trees: found the number 1000000.0, wanted an integer"}},
    {"TreesAboveDouble",
     R"({"layers": [{"type": "fff", "trees": 1e400}]})",
     {"not valid JSON", "1e400"}},
    {"TreesNoNumber",
     R"({"layers": [{"type": "fff", "trees": NaN}]})",
     {"not valid JSON"}},
    {"TreesText",
     R"({"layers": [{"type": "fff", "trees": "3"}]})",
     {R"(layers[0].trees: found the string "3", wanted an integer)"}},
    {"TreesAboveInt64",
     R"({"layers": [{"type": "fff", "trees": 18446744073709551615}]})",
     {"layers[0].trees: found the number 18446744073709551615, wanted"}},
    {"FamilyAgainstConvention",
     R"({"layers": [{"type": "fff", "convention": "sap-fff", "family": "leaf"}]})",
     {R"(layers[0].family: found "leaf", but convention "sap-fff" is of family "path")"}},
    {"TieWord",
     R"({"layers": [{"type": "fff", "tie": ">="}]})",
     {R"(layers[0].tie: found the string ">=", wanted one of "right", "left")"}},
    {"OutputBiasWord",
     R"({"layers": [{"type": "fff", "output_bias": "no"}]})",
     {R"(layers[0].output_bias: found the string "no", wanted true or false)"}},
    {"EpsilonZero",
     R"({"layers": [{"type": "layer_norm", "epsilon": 0}]})",
     {"layers[0].epsilon: found the number 0, wanted a number above 0 and at "
      "most 1"}},
    {"PrefixNumber",
     R"({"layers": [{"type": "linear", "prefix": 3}]})",
     {"layers[0].prefix: found the number 3, wanted a string"}},
    {"NameEmpty",
     R"({"input": {"name": ""}})",
     {"input.name: found an empty string"}},
    {"NameWithNewline",
     R"({"input": {"name": "a\nb"}})",
     {R"(input.name: found the string "a\x0ab", wanted a string without control characters)"}},
    {"ShapeZero",
     R"({"input": {"shape": [28, 0]}})",
     {"input.shape[1]: found the number 0, wanted an integer from 1 to"}},
    {"ShapeRank",
     R"({"input": {"shape": [1,1,1,1,1,1,1,1,1]}})",
     {"input.shape: found an array of 9, wanted an array of 1 to 8"}},
    {"ShapeProduct",
     R"({"input": {"shape": [16777216, 16777216]}})",
     {"input.shape: found [16777216, 16777216], whose product is above"}},
    {"LabelsOnInput",
     R"({"input": {"labels": ["a"]}})",
     {"input.labels: unknown key, allowed are name, shape"}},
    {"LabelTrue",
     R"({"output": {"labels": ["a", true]}})",
     {"output.labels[1]: found true, wanted a string"}},
    {"LabelList",
     R"({"output": {"labels": [0, [1]]}})",
     {"output.labels[1]: found an array of 1, wanted a string"}},
    {"BatchRowsZero",
     R"({"batching": {"max_batch_rows": 0}})",
     {"batching.max_batch_rows: found the number 0, wanted an integer from 1 "
      "to 1048576"}},
    {"DelayNegative",
     R"({"batching": {"max_queue_delay_us": -1}})",
     {"batching.max_queue_delay_us: found the number -1, wanted an integer "
      "from 0 to 10000000"}},
    {"QueueBelowBatch",
     R"({"batching": {"max_batch_rows": 100, "max_queue_rows": 99}})",
     {"batching.max_queue_rows: found 99, wanted at least "
      "batching.max_batch_rows, 100"}},
    {"QueueBelowBatchOfTokens",
     R"({"batching": {"max_batch_tokens": 512, "max_queue_tokens": 511}})",
     {"batching.max_queue_tokens: found 511, wanted at least "
      "batching.max_batch_tokens, 512"}},
    {"Precision",
     R"({"precision": "fp16"})",
     {R"(precision: found the string "fp16", wanted one of "fp32", "bf16", "int8")"}},
    {"Engine",
     R"({"engine": "dense"})",
     {R"(engine: found the string "dense", wanted one of "fff", "auto")"}},
    {"EngineOfNothing", R"({"engine": true})", {"engine: found true"}},
    {"PrecisionOfNothing",
     R"({"precision": 8})",
     {"precision: found the number 8"}},
    {"PrecisionRowsInAnotherDirectory",
     R"({"precision": "int8", "precision_rows": "../rows.safetensors"})",
     {R"(precision_rows: found "../rows.safetensors", wanted the name of a )"
      "file of the version directory that does not begin with a dot"}},
    {"CheckpointEntryEmpty",
     R"({"checkpoint_entry": ""})",
     {"checkpoint_entry: is empty, wanted the path of a dict in the file"}},
    {"CheckpointEntryOfAnotherType",
     R"({"checkpoint_entry": ["ema", "state_dict"]})",
     {"checkpoint_entry: found an array of 2"}},
    {"PrecisionRowsWithoutAPrecision",
     R"({"precision_rows": "rows.safetensors"})",
     {R"(precision_rows: is for "precision": "bf16" or "int8" alone; found )"
      R"("fp32")"}},
    {"Device",
     R"({"device": "tpu"})",
     {R"(device: found the string "tpu", wanted one of "auto", "cpu", "cuda")"}},
    {"VersionsEmpty",
     R"({"versions": {}})",
     {"versions: found 0 keys, wanted exactly one"}},
    {"VersionsTwo",
     R"({"versions": {"latest": 1, "all": true}})",
     {"versions: found 2 keys, wanted exactly one"}},
    {"VersionsAllFalse",
     R"({"versions": {"all": false}})",
     {"versions.all: found false"}},
    {"VersionTwice",
     R"({"versions": {"specific": [2, 2]}})",
     {"versions.specific: names a version twice"}},
    {"VersionZero",
     R"({"versions": {"specific": [0]}})",
     {"versions.specific[0]: found the number 0"}},
    {"WarmupAboveBatch",
     R"({"batching": {"max_batch_rows": 8}, "warmup_batch_rows": [9]})",
     {"warmup_batch_rows[0]: found the number 9, wanted an integer from 1 to "
      "8"}},
    {"NullValue", R"({"device": null})", {"device: found null, wanted one of"}},
};

INSTANTIATE_TEST_SUITE_P(All, BadConfigTest, ::testing::ValuesIn(kBadConfigs),
                         [](const auto& param_info) {
                           return std::string(param_info.param.name);
                         });

TEST(ModelConfigTest, BoundsNestingAndSize) {
  const std::string deep =
      R"({"layers": )" + std::string(64, '[') + std::string(64, ']') + "}";
  const auto nested = ParseModelConfig(deep, "c");
  EXPECT_THAT(std::string(nested.status().message()),
              HasSubstr("nested deeper than 16"));
  const std::string large(kConfigBytesMax + 1, ' ');
  const auto sized = ParseModelConfig(large, "c");
  EXPECT_EQ(sized.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(sized.status().message()),
              HasSubstr("found 1048577 bytes, at most 1048576"));
  std::string many = R"({"layers": [)";
  for (int i = 0; i <= kLayersMax; ++i) {
    many += std::string(i == 0 ? "" : ",") + R"({"type": "flatten"})";
  }
  const auto layers = ParseModelConfig(many + "]}", "c");
  EXPECT_THAT(std::string(layers.status().message()),
              HasSubstr("layers: found an array of 257"));
}

TEST(ModelConfigTest, LongTextFromTheFileIsCutInMessages) {
  const auto config = ParseModelConfig(
      R"({"device": ")" + std::string(100000, 'x') + R"("})", "c");
  EXPECT_LT(config.status().message().size(), 500u);
}

}  // namespace
}  // namespace fff::importer
