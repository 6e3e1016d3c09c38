#include "server/model/layer_config.h"

#include <iterator>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "server/checkpoint/checkpoint.h"
#include "server/model/convention.h"

namespace fff::model {
namespace {

using engine::Activation;

constexpr Activation kActivations[] = {
    Activation::kRelu,    Activation::kGelu, Activation::kGeluTanh,
    Activation::kSilu,    Activation::kTanh, Activation::kSigmoid,
    Activation::kIdentity};
constexpr double kEpsilonMax = 1.0;

enum LayerType { kLinear, kActivation, kLayerNorm, kFlatten, kFff };
constexpr absl::string_view kLayerTypes[] = {"linear", "activation",
                                             "layer_norm", "flatten", "fff"};

std::optional<Activation> ReadActivation(JsonFields& fields) {
  std::vector<absl::string_view> names;
  for (const Activation activation : kActivations) {
    names.push_back(engine::Name(activation));
  }
  const auto index = fields.Choice("activation", names);
  if (!index.has_value()) return std::nullopt;
  return kActivations[*index];
}

std::string ReadPrefix(JsonFields& fields) {
  return fields.String("prefix", checkpoint::kTensorNameBytesMax).value_or("");
}

// Fields that contradict the family are refused here, before any tensor is
// read; without a convention the family may still be detected, and then the
// builder checks again.
void CheckFamily(const FffLayerConfig& config, JsonFields& fields) {
  const Convention* convention = FindConvention(config.convention);
  if (convention != nullptr && config.family.has_value() &&
      *config.family != convention->family) {
    fields.errors().Add(
        fields.PathOf("family"),
        absl::StrCat("found \"", Name(*config.family), "\", but convention \"",
                     convention->name, "\" is of family \"",
                     Name(convention->family), "\"; leave one of them out"));
  }
}

FffLayerConfig ReadFffLayer(JsonFields& fields) {
  FffLayerConfig config;
  std::vector<absl::string_view> conventions;
  for (const Convention& convention : Conventions()) {
    conventions.push_back(convention.name);
  }
  if (const auto index = fields.Choice("convention", conventions)) {
    config.convention = std::string(conventions[*index]);
  }
  config.prefix = ReadPrefix(fields);
  config.activation = ReadActivation(fields);
  config.trees = fields.Integer("trees", {1, engine::kTreesMax});
  if (const auto family = fields.Choice("family", {"leaf", "path"})) {
    config.family = *family == 0 ? Family::kLeaf : Family::kPath;
  }
  if (const auto tie = fields.Choice("tie", {"right", "left"})) {
    config.tie = *tie == 0 ? engine::Tie::kRight : engine::Tie::kLeft;
  }
  config.output_bias = fields.Bool("output_bias");
  CheckFamily(config, fields);
  return config;
}

LayerConfig ReadFields(LayerType type, JsonFields& fields) {
  switch (type) {
    case kFff:
      return ReadFffLayer(fields);
    case kLinear: {
      LinearLayerConfig config;
      config.prefix = ReadPrefix(fields);
      config.activation = ReadActivation(fields);
      return config;
    }
    case kActivation: {
      const auto activation = ReadActivation(fields);
      if (!activation.has_value()) {
        fields.errors().Add(fields.PathOf("activation"),
                            "this key is missing; an activation layer needs "
                            "it, for example \"relu\"");
      }
      return ActivationLayerConfig{activation.value_or(Activation::kIdentity)};
    }
    case kLayerNorm: {
      LayerNormLayerConfig config;
      config.prefix = ReadPrefix(fields);
      config.epsilon = fields.PositiveNumber("epsilon", kEpsilonMax)
                           .value_or(config.epsilon);
      return config;
    }
    case kFlatten:
      return FlattenLayerConfig{};
  }
  return FlattenLayerConfig{};
}

LayerConfig ReadLayer(const nlohmann::json& value, std::string path,
                      FffLayers fff, JsonErrors& errors) {
  JsonFields fields(value, std::move(path), errors);
  // "fff" stands last so that a list without it is a prefix of the array.
  const size_t count =
      std::size(kLayerTypes) - (fff == FffLayers::kRefused ? 1 : 0);
  const auto type = fields.Choice("type", {kLayerTypes, count});
  if (!type.has_value()) {
    errors.Add(fields.PathOf("type"),
               "this key is missing; every layer has "
               "one, for example \"linear\"");
    return FlattenLayerConfig{};
  }
  LayerConfig layer = ReadFields(static_cast<LayerType>(*type), fields);
  fields.RejectUnknownKeys();
  return layer;
}

}  // namespace

std::vector<LayerConfig> ReadLayers(JsonFields& fields, const char* key,
                                    FffLayers fff) {
  std::vector<LayerConfig> layers;
  size_t index = 0;
  for (const nlohmann::json* element : fields.Elements(key, {1, kLayersMax})) {
    layers.push_back(ReadLayer(*element, fields.ElementPath(key, index), fff,
                               fields.errors()));
    ++index;
  }
  return layers;
}

}  // namespace fff::model
