#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/importer/json_fields.h"
#include "server/importer/layer_config.h"
#include "server/importer/layers/loaded_layer.h"
#include "server/importer/tensor_reader.h"

// The layer types of config.json, one row each: which fields an entry has and
// which ops it becomes. Included by .cc files of this folder only.
namespace fff::importer {

// Whether an entry has "layers" of its own.
enum class Nests { kNothing, kOnce, kRepeated };

struct LayerType {
  absl::string_view name;  // as "type" says it
  bool reads_tensors;      // below "prefix"
  bool trained_dense;      // allowed in "dense_layers"
  // Reads the fields of an entry; errors go to fields.errors().
  void (*read)(JsonFields& fields, LayerConfig& config);
  // INVALID_ARGUMENT names the tensor, found and wanted.
  absl::StatusOr<LoadedLayer> (*load)(const LayerConfig& config,
                                      TensorReader& reader);
  Nests nests = Nests::kNothing;  // load is null where it does
};

// The type must exist: configs that were parsed name no other.
const LayerType& LayerTypeOf(const LayerConfig& config);

// The layer list under `key`, empty when absent. Errors go to fields.errors().
std::vector<LayerConfig> ReadLayers(JsonFields& fields, const char* key);

}  // namespace fff::importer
