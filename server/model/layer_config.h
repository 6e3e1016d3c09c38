#pragma once

#include <vector>

#include "server/model/json_fields.h"
#include "server/model/model_config.h"

namespace fff::model {

enum class FffLayers { kAllowed, kRefused };

// The layer list under `key`, empty when absent. Errors go to
// fields.errors(). Included by .cc files of this folder only.
std::vector<LayerConfig> ReadLayers(JsonFields& fields, const char* key,
                                    FffLayers fff);

}  // namespace fff::model
