#pragma once

#include <vector>

#include "absl/strings/string_view.h"
#include "server/importer/json_fields.h"
#include "server/importer/layer_config.h"
#include "server/importer/layers/layer_type.h"

// All layer types of config.json (layer_type.h).
namespace fff::importer {

// The type must exist: configs that were parsed name no other.
const LayerType& LayerTypeOf(const LayerConfig& config);

// The layer list under `key`, empty when absent. Errors go to fields.errors().
std::vector<LayerConfig> ReadLayers(JsonFields& fields, const char* key);

}  // namespace fff::importer
