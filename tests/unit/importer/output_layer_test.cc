// Outputs among the layers of config.json: what is read, and what is refused.
#include "server/importer/layers/output_layer.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/importer/model_config.h"

namespace fff::importer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

absl::StatusOr<ModelConfig> Parse(const std::string& layers,
                                  const std::string& more = "") {
  return ParseModelConfig(
      absl::StrCat("{\"layers\": [", layers, "]", more, "}"), "config.json");
}

TEST(OutputLayer, HasANameLabelsAndLayersOfItsOwn) {
  const auto config = Parse(R"(
      {"type": "linear"},
      {"type": "output", "name": "hidden"},
      {"type": "output", "name": "kind", "labels": ["a", 7], "layers": [
          {"type": "repeat", "count": 2, "prefix": "{i}.", "layers": [
              {"type": "linear"}]}]})");
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_THAT(config->layers, SizeIs(3));
  EXPECT_EQ(config->layers[1].output.name, "hidden");
  EXPECT_THAT(config->layers[1].layers, SizeIs(0));
  EXPECT_EQ(config->layers[2].output.name, "kind");
  EXPECT_THAT(config->layers[2].output.labels, ElementsAre("a", "7"));
  EXPECT_THAT(config->layers[2].layers, SizeIs(1));
}

TEST(OutputLayer, OfTheDenseNetworkMayHaveTheSameName) {
  const auto config =
      Parse(R"({"type": "output", "name": "h"}, {"type": "linear"})",
            R"(, "dense_layers": [{"type": "output", "name": "h"}])");
  EXPECT_TRUE(config.ok()) << config.status();
}

struct Refused {
  std::string layers;
  std::string more;
  std::string why;
};

TEST(OutputLayer, IsRefusedWithItsPlace) {
  const Refused cases[] = {
      {R"({"type": "output"})", "",
       "layers[0].name: this key is missing; an output needs one"},
      {R"({"type": "output", "name": ""})", "",
       "layers[0].name: found an empty string, wanted a name"},
      {R"({"type": "output", "name": 3})", "", "layers[0].name"},
      {R"({"type": "output", "name": "h", "labels": []})", "",
       "layers[0].labels"},
      {R"({"type": "output", "name": "h", "layers": []})", "",
       "layers[0].layers"},
      {R"({"type": "output", "name": "h", "shape": [3]})", "",
       "layers[0].shape"},
      {R"({"type": "output", "name": "h"}, {"type": "output", "name": "h"})",
       "",
       "layers[1].name: found \"h\", which another output is called, wanted a "
       "name of its own"},
      {R"({"type": "output", "name": "output"})", "",
       "layers[0].name: found \"output\", which another output is called"},
      {R"({"type": "residual", "layers": [
              {"type": "output", "name": "scores"}]})",
       R"(, "output": {"name": "scores"})",
       "layers[0].layers[0].name: found \"scores\""},
      {R"({"type": "output", "name": "scores_ids"})",
       R"(, "output": {"name": "scores"})",
       "layers[0].name: found \"scores_ids\", which is the main output's for "
       "the columns of top_k"},
      {R"({"type": "repeat", "count": 1, "layers": [{"type": "residual",
              "layers": [{"type": "output", "name": "h"}]}]})",
       "", "layers[0].layers[0].layers[0]: found an output inside a repeat"},
      {R"({"type": "linear"})",
       R"(, "dense_layers": [{"type": "output", "name": "output"}])",
       "dense_layers[0].name: found \"output\""},
  };
  for (const Refused& refused : cases) {
    const auto config = Parse(refused.layers, refused.more);
    ASSERT_FALSE(config.ok()) << refused.layers;
    EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(refused.why));
  }
}

TEST(OutputLayer, AreOnlySoMany) {
  std::string layers;
  for (int i = 1; i < kOutputsMax; ++i) {
    absl::StrAppend(&layers, i > 1 ? "," : "",
                    R"({"type": "output", "name": "h)", i, "\"}");
  }
  EXPECT_TRUE(Parse(layers).ok());
  const auto more = Parse(layers + R"(,{"type": "output", "name": "last"})");
  EXPECT_THAT(std::string(more.status().message()),
              HasSubstr("layers: found 65 outputs, wanted at most 64"));
}

}  // namespace
}  // namespace fff::importer
