#include "server/importer/layers/layer_types.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "server/base/check.h"
#include "server/importer/layers/layer_fields.h"
#include "server/importer/layers/output_layer.h"

namespace fff::importer {
namespace {

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

constexpr LayerType kNesting[] = {
    {"residual", false, true, ReadNothing, nullptr, Nests::kOnce},
    {"repeat", false, true, ReadRepeat, nullptr, Nests::kRepeated},
    {"output", false, true, ReadOutputLayer, nullptr, Nests::kBranch},
};

// In the order in which messages list them.
const std::vector<LayerType>& AllTypes() {
  static const std::vector<LayerType> kAll = [] {
    std::vector<LayerType> all;
    for (const absl::Span<const LayerType> types :
         {RowLayers(), FffLayers(), PictureLayers(), PatchLayers(),
          SequenceLayers(), AttentionLayers(), TokenLayers(),
          absl::MakeConstSpan(kNesting)}) {
      all.insert(all.end(), types.begin(), types.end());
    }
    return all;
  }();
  return kAll;
}

std::vector<LayerConfig> ReadLayersAt(JsonFields& fields, const char* key,
                                      bool trained_dense, int depth);

LayerConfig ReadLayer(const nlohmann::json& value, std::string path,
                      bool trained_dense, int depth, JsonErrors& errors) {
  JsonFields fields(value, std::move(path), errors);
  std::vector<JsonFields::Named<const LayerType*>> allowed;
  for (const LayerType& type : AllTypes()) {
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
    if (config.layers.empty() && (*type)->nests != Nests::kBranch) {
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
  const auto found = std::find_if(
      AllTypes().begin(), AllTypes().end(),
      [&](const LayerType& type) { return type.name == config.type; });
  FFF_CHECK(found != AllTypes().end());
  return *found;
}

std::vector<LayerConfig> ReadLayers(JsonFields& fields, const char* key) {
  return ReadLayersAt(fields, key, absl::string_view(key) == "dense_layers", 0);
}

}  // namespace fff::importer
