#pragma once

#include <optional>

#include "server/graph/activation.h"
#include "server/importer/json_fields.h"
#include "server/importer/layer_config.h"

// Fields that several layer types have. Included by .cc files of this folder
// only.
namespace fff::importer {

// The key "activation"; with "prefix", of a linear layer.
std::optional<graph::Activation> ReadActivation(JsonFields& fields);

void ReadPrefix(JsonFields& fields, LayerConfig& config);

}  // namespace fff::importer
