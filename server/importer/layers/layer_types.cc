#include "server/importer/layers/layer_types.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "server/base/check.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/checkpoint.h"
#include "server/importer/conventions.h"
#include "server/importer/dense_weights.h"
#include "server/importer/layers/fff_layer.h"
#include "server/importer/layers/picture_layers.h"
#include "server/importer/layers/row_layers.h"
#include "server/importer/layers/sequence_layers.h"

namespace fff::importer {
namespace {

using graph::Activation;
using graph::GraphBuilder;
using graph::Op;
using graph::ValueId;

// Fields that contradict the family are refused here, before any tensor is
// read; without a convention the family may still be detected, and then the
// reader checks again.
void CheckFamily(const LayerConfig& config, JsonFields& fields) {
  const Convention* convention = FindConvention(config.convention);
  if (convention != nullptr && config.family.has_value() &&
      *config.family != convention->family()) {
    fields.errors().Add(
        fields.PathOf("family"),
        absl::StrCat("found \"", Name(*config.family), "\", but convention \"",
                     convention->name, "\" is of family \"",
                     Name(convention->family()), "\"; leave one of them out"));
  }
}

// The name of its row, "" when the key is absent.
std::string ReadConvention(JsonFields& fields) {
  const auto name =
      fields.String("convention", checkpoint::kTensorNameBytesMax);
  if (!name.has_value()) return "";
  const Convention* convention = FindConvention(*name);
  if (convention != nullptr) return std::string(convention->name);
  fields.errors().Add(
      fields.PathOf("convention"),
      absl::StrCat("found the string \"", base::Printable(*name),
                   "\", wanted one of ", ConventionNames()));
  return "";
}

// 0 <= share <= 1.
std::optional<double> ReadShare(JsonFields& fields, const char* key) {
  const std::vector<double> share = fields.Numbers(key, 1);
  if (share.empty()) return std::nullopt;
  if (share[0] >= 0 && share[0] <= 1) return share[0];
  fields.errors().Add(fields.PathOf(key),
                      absl::StrCat("found ", share[0], ", wanted 0 to 1"));
  return std::nullopt;
}

void ReadArguments(JsonFields& layer, FffArguments& arguments) {
  const nlohmann::json* value = layer.Find("arguments");
  if (value == nullptr) return;
  JsonFields fields(*value, layer.PathOf("arguments"), layer.errors());
  arguments.region_leak = ReadShare(fields, "region_leak");
  arguments.master_leaf = fields.Bool("master_leaf");
  arguments.fallback_leaf = fields.Bool("fallback_leaf");
  arguments.route_rows_output_count =
      fields.Integer("route_rows_output_count", {0, graph::kWidthMax});
  fields.RejectUnknownKeys();
}

void ReadFff(JsonFields& fields, LayerConfig& config) {
  config.convention = ReadConvention(fields);
  ReadPrefix(fields, config);
  config.activation = ReadActivation(fields);
  config.trees = fields.Integer("trees", {1, graph::kTreesMax});
  config.family = fields.OneOf<Family>(
      "family", {{"leaf", Family::kLeaf}, {"path", Family::kPath}});
  config.tie = fields.OneOf<graph::Tie>(
      "tie", {{"right", graph::Tie::kRight}, {"left", graph::Tie::kLeft}});
  config.output_bias = fields.Bool("output_bias");
  ReadArguments(fields, config.arguments);
  CheckFamily(config, fields);
}

void ReadLinear(JsonFields& fields, LayerConfig& config) {
  ReadPrefix(fields, config);
  config.activation = ReadActivation(fields);
}

void ReadActivationLayer(JsonFields& fields, LayerConfig& config) {
  config.activation = ReadActivation(fields);
  if (!config.activation.has_value()) {
    fields.errors().Add(fields.PathOf("activation"),
                        "this key is missing; an activation layer needs it, "
                        "for example \"relu\"");
  }
}

void ReadNothing(JsonFields& /*fields*/, LayerConfig& /*config*/) {}

absl::StatusOr<LoadedLayer> LoadLinear(const LayerConfig& config,
                                       TensorReader& reader) {
  FFF_ASSIGN_OR_RETURN(graph::DenseWeights weights,
                       ReadDense(absl::StrCat(config.prefix, "weight"),
                                 absl::StrCat(config.prefix, "bias"), reader));
  weights.problem.activation =
      config.activation.value_or(Activation::kIdentity);
  const int64_t width = weights.problem.input_width;
  return OneOp("linear", width,
               graph::Linear{{std::make_shared<const graph::DenseWeights>(
                   std::move(weights))}});
}

absl::StatusOr<LoadedLayer> LoadActivation(const LayerConfig& config,
                                           TensorReader& /*reader*/) {
  LoadedLayer loaded;
  const Activation activation = *config.activation;
  loaded.layer.type = config.type;
  loaded.add = [activation](
                   GraphBuilder& builder, ValueId in,
                   const LayerContext& /*context*/) -> absl::StatusOr<ValueId> {
    const int64_t width = builder.WidthOf(in);
    const graph::ActivationProblem problem = {width, width, activation};
    builder.layer().text = problem.ToString();
    if (activation == Activation::kIdentity) return in;
    return builder.Add(
        graph::Activate{{std::make_shared<const graph::ActivationWeights>(
            graph::ActivationWeights{problem})}},
        in);
  };
  return loaded;
}

// Elements lie in this order already: no op.
absl::StatusOr<LoadedLayer> LoadFlatten(const LayerConfig& config,
                                        TensorReader& /*reader*/) {
  LoadedLayer loaded;
  loaded.layer.type = config.type;
  loaded.add = [](GraphBuilder& builder, ValueId in,
                  const LayerContext& /*context*/) -> absl::StatusOr<ValueId> {
    if (builder.TypeOf(in).per_token()) {
      return absl::InvalidArgumentError(
          "got sequences of any length, wanted rows of one length; \"pool\" "
          "makes one vector of a sequence");
    }
    if (builder.TypeOf(in).data_type != tensor::DataType::kF32) {
      return absl::InvalidArgumentError(
          "got whole numbers, which \"embedding\" must come first for");
    }
    builder.layer().text = absl::StrCat("to ", builder.WidthOf(in));
    builder.Flatten(in);
    return in;
  };
  return loaded;
}

void ReadRepeat(JsonFields& fields, LayerConfig& config) {
  config.count = fields.Integer("count", {1, kLayersMax}).value_or(0);
  if (config.count == 0) {
    fields.errors().Add(fields.PathOf("count"),
                        "this key is missing: how often \"layers\" come");
  }
  ReadPrefix(fields, config);
  if (config.count > 1 && !config.prefix.empty() &&
      !absl::StrContains(config.prefix, kRepeatIndex)) {
    fields.errors().Add(
        fields.PathOf("prefix"),
        absl::StrCat("found \"", config.prefix,
                     "\", wanted {i} in it, which stands for 0, 1, ..."));
  }
}

constexpr LayerType kTypes[] = {
    {"linear", true, true, ReadLinear, LoadLinear},
    {"activation", false, true, ReadActivationLayer, LoadActivation},
    {"layer_norm", true, true, ReadLayerNorm, LoadLayerNorm},
    {"rms_norm", true, true, ReadRmsNorm, LoadRmsNorm},
    {"glu", false, true, ReadGlu, LoadGlu},
    {"softmax", false, true, ReadNothing, LoadSoftmax},
    {"flatten", false, true, ReadNothing, LoadFlatten},
    {"fff", true, false, ReadFff, LoadFff},
    {"conv2d", true, true, ReadConv2d, LoadConv2d},
    {"max_pool2d", false, true, ReadPool2d, LoadMaxPool2d},
    {"avg_pool2d", false, true, ReadPool2d, LoadAvgPool2d},
    {"batch_norm", true, true, ReadBatchNorm, LoadBatchNorm},
    {"normalize", false, true, ReadNormalize, LoadNormalize},
    {"tokens", false, true, ReadNothing, LoadTokens},
    {"patches", false, true, ReadPatches, LoadPatches},
    {"shifted_patches", false, true, ReadPatches, LoadShiftedPatches},
    {"embedding", true, true, ReadEmbedding, LoadEmbedding},
    {"class_token", false, true, ReadClassToken, LoadClassToken},
    {"positions", false, true, ReadPositions, LoadPositions},
    {"attention", false, true, ReadAttention, LoadAttention},
    {"pool", false, true, ReadPool, LoadPool},
    {"residual", false, true, ReadNothing, nullptr, Nests::kOnce},
    {"repeat", false, true, ReadRepeat, nullptr, Nests::kRepeated},
};

std::vector<LayerConfig> ReadLayersAt(JsonFields& fields, const char* key,
                                      bool trained_dense, int depth);

LayerConfig ReadLayer(const nlohmann::json& value, std::string path,
                      bool trained_dense, int depth, JsonErrors& errors) {
  JsonFields fields(value, std::move(path), errors);
  std::vector<JsonFields::Named<const LayerType*>> allowed;
  for (const LayerType& type : kTypes) {
    if (type.trained_dense || !trained_dense) {
      allowed.emplace_back(type.name, &type);
    }
  }
  LayerConfig config;
  const auto type = fields.OneOf<const LayerType*>("type", allowed);
  if (!type.has_value()) {
    errors.Add(fields.PathOf("type"),
               "this key is missing; every layer has one, for example "
               "\"linear\"");
    return config;
  }
  config.type = std::string((*type)->name);
  (*type)->read(fields, config);
  if ((*type)->nests != Nests::kNothing) {
    config.layers = ReadLayersAt(fields, "layers", trained_dense, depth + 1);
    if (config.layers.empty()) {
      errors.Add(fields.PathOf("layers"), "this key is missing");
    }
  }
  fields.RejectUnknownKeys();
  return config;
}

std::vector<LayerConfig> ReadLayersAt(JsonFields& fields, const char* key,
                                      bool trained_dense, int depth) {
  std::vector<LayerConfig> layers;
  if (depth > kNestingMax) {
    fields.errors().Add(fields.PathOf(key),
                        absl::StrCat("layers nest deeper than ", kNestingMax));
    return layers;
  }
  size_t index = 0;
  for (const nlohmann::json* element : fields.Elements(key, {1, kLayersMax})) {
    layers.push_back(ReadLayer(*element, fields.ElementPath(key, index),
                               trained_dense, depth, fields.errors()));
    ++index;
  }
  return layers;
}

}  // namespace

const LayerType& LayerTypeOf(const LayerConfig& config) {
  const auto* found = std::find_if(
      std::begin(kTypes), std::end(kTypes),
      [&](const LayerType& type) { return type.name == config.type; });
  FFF_CHECK(found != std::end(kTypes));
  return *found;
}

std::vector<LayerConfig> ReadLayers(JsonFields& fields, const char* key) {
  return ReadLayersAt(fields, key, absl::string_view(key) == "dense_layers", 0);
}

}  // namespace fff::importer
