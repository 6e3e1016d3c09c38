#include "server/importer/draft_config.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/importer/model_config.h"

namespace fff::importer {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

TensorShapes Shapes(
    const std::vector<std::pair<std::string, tensor::Shape>>& named) {
  TensorShapes tensors;
  for (const auto& [name, shape] : named) tensors.shapes[name] = shape;
  return tensors;
}

TEST(DraftConfig, OfABareLayerSaysAllThatNoTensorTells) {
  const DraftConfig draft = DraftOf(Shapes({{"depth", {}},
                                            {"node_weights", {3, 6}},
                                            {"node_biases", {3, 1}},
                                            {"w1s", {4, 6, 3}},
                                            {"b1s", {4, 3}},
                                            {"w2s", {4, 3, 4}},
                                            {"b2s", {4, 4}}}));
  EXPECT_EQ(draft.json,
            "{\n  \"layers\": [\n    {\"type\": \"fff\", \"convention\": "
            "\"fastfeedforward\", \"activation\": \"relu\", \"output_bias\": "
            "true}\n  ]\n}\n");
  EXPECT_THAT(draft.remarks, Contains(HasSubstr("fastfeedforward-0.2.1")));
  EXPECT_TRUE(ParseModelConfig(draft.json, "config.json").ok());
}

TEST(DraftConfig, OfANetworkListsModulesInTheirOrder) {
  const DraftConfig draft = DraftOf(Shapes({{"10.weight", {5, 16}},
                                            {"10.bias", {5}},
                                            {"2.X", {7, 24}},
                                            {"2.Y", {7, 16}},
                                            {"0.weight", {24, 12}},
                                            {"3.weight", {16}},
                                            {"3.bias", {16}},
                                            {"scale", {3, 3, 3}}}));
  const size_t linear = draft.json.find("\"linear\", \"prefix\": \"0.\"");
  const size_t fff = draft.json.find("\"fff\"");
  const size_t norm = draft.json.find("\"layer_norm\", \"prefix\": \"3.\"");
  const size_t head = draft.json.find("\"linear\", \"prefix\": \"10.\"");
  EXPECT_LT(linear, fff);
  EXPECT_LT(fff, norm);
  EXPECT_LT(norm, head);
  EXPECT_NE(head, std::string::npos) << draft.json;
  // X and Y are those of several code bases.
  EXPECT_THAT(draft.remarks, Contains(HasSubstr("sap-fff-recursive")));
  EXPECT_THAT(draft.remarks,
              Contains(HasSubstr("in no layer of the draft: \"scale\"")));
  EXPECT_THAT(draft.remarks, Contains(HasSubstr("the order of layers")));
}

TEST(DraftConfig, OfNothingIsEmpty) {
  const DraftConfig draft = DraftOf(Shapes({{"a", {3}}}));
  EXPECT_EQ(draft.json, "{\n  \"layers\": [\n\n  ]\n}\n");
}

}  // namespace
}  // namespace fff::importer
