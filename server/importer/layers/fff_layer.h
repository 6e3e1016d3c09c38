#pragma once

#include "absl/status/statusor.h"
#include "server/importer/layer_config.h"
#include "server/importer/layers/loaded_layer.h"
#include "server/importer/tensor_reader.h"

namespace fff::importer {

// An fff layer of config.json: detects prefix and convention where it leaves
// them out and reads the tensors (fff_tensors.h). Errors are INVALID_ARGUMENT
// and name the tensor, found and wanted.
absl::StatusOr<LoadedLayer> LoadFff(const LayerConfig& config,
                                    TensorReader& reader);

}  // namespace fff::importer
