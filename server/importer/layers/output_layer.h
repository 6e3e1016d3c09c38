#pragma once

#include <string>

#include "absl/types/span.h"
#include "server/importer/json_fields.h"
#include "server/importer/layer_config.h"

// An entry of "layers" that is an output of the network beside the main one,
// which the end of the layers is: the value that reaches it, or what its own
// "layers" make of that.
namespace fff::importer {

inline constexpr char kOutputType[] = "output";
// The main one counts.
inline constexpr int kOutputsMax = 64;

void ReadOutputLayer(JsonFields& fields, LayerConfig& config);

// That the outputs of the list under `key`, wherever they nest, have names of
// their own, none that of the main output, and stand in no repeat. Errors say
// where.
void CheckOutputs(absl::Span<const LayerConfig> layers, const std::string& key,
                  const EdgeConfig& main, JsonErrors& errors);

}  // namespace fff::importer
