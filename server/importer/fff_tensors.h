#pragma once

#include "absl/status/statusor.h"
#include "server/graph/op.h"
#include "server/importer/convention.h"
#include "server/importer/fff_shape.h"
#include "server/importer/layer_config.h"
#include "server/importer/layers/loaded_layer.h"
#include "server/importer/tensor_reader.h"

// The readers of the layouts: an FFF layer's tensors to its ops. Shapes agree,
// every value is finite, the `depth` scalar (when there is one) says what the
// shapes say. What can be shared with the checkpoint's storage is. Errors are
// INVALID_ARGUMENT and name the tensor, found and wanted.
namespace fff::importer {

// Node-major weights; a copy only of an output matrix stored as columns.
absl::StatusOr<graph::FffPath> ReadPathOp(const LayerConfig& config,
                                          const Convention& convention,
                                          const TensorShapes& tensors,
                                          TensorReader& reader);

absl::StatusOr<LoadedLayer> ReadPath(const LayerConfig& config,
                                     const Convention& convention,
                                     const TensorShapes& tensors,
                                     TensorReader& reader);

absl::StatusOr<LoadedLayer> ReadLeaf(const LayerConfig& config,
                                     const Convention& convention,
                                     const TensorShapes& tensors,
                                     TensorReader& reader);

// y = s*FFF(x) + (1-s)*(relu(x.magic_w1 + magic_b1).magic_w2 + magic_b2) with
// s = sigmoid(k), arXiv 2405.16836: a leaf op, two linear ops and a blend.
absl::StatusOr<LoadedLayer> ReadMasterLeaf(const LayerConfig& config,
                                           const Convention& convention,
                                           const TensorShapes& tensors,
                                           TensorReader& reader);

}  // namespace fff::importer
