#pragma once

#include "absl/status/statusor.h"
#include "server/importer/convention.h"
#include "server/importer/layouts/tensor_shapes.h"
#include "server/importer/tensor_reader.h"

// Readers of path family layouts whose weights are re-arranged while they are
// loaded, so that the kernels at hand compute them. Errors are INVALID_ARGUMENT
// and name the tensor, found and wanted.
namespace fff::importer {

// sap-ient-ai/FFF fff_jax.py: every row of X and Y less its mean, over its
// deviation: (w - mean) / sqrt(variance + 1e-5), jax.nn.standardize.
absl::StatusOr<LoadedLayer> ReadStandardisedRows(const LayerConfig& config,
                                                 const Convention& convention,
                                                 const TensorShapes& tensors,
                                                 TensorReader& reader);

// X stored as one column [N * I, 1] is [N, I].
absl::StatusOr<LoadedLayer> ReadFlatRows(const LayerConfig& config,
                                         const Convention& convention,
                                         const TensorShapes& tensors,
                                         TensorReader& reader);

// One row of X per level: node n of level k gets row k.
absl::StatusOr<LoadedLayer> ReadLevelRows(const LayerConfig& config,
                                          const Convention& convention,
                                          const TensorShapes& tensors,
                                          TensorReader& reader);

// Two such layers, "net.0." and "net.3.", and the activation between them.
absl::StatusOr<LoadedLayer> ReadBojanFlat(const LayerConfig& config,
                                          const Convention& convention,
                                          const TensorShapes& tensors,
                                          TensorReader& reader);

// y = path(x) + W_out.act(W_in.x), dense_in and dense_out without biases.
absl::StatusOr<LoadedLayer> ReadPairAndMlp(const LayerConfig& config,
                                           const Convention& convention,
                                           const TensorShapes& tensors,
                                           TensorReader& reader);

// Nodes of PReLU with one learned slope a: prelu(z) = a*z + (1 - a)*relu(z), so
// two path ops of the same routes, added. In float the sum may differ from the
// product in the last bits.
absl::StatusOr<LoadedLayer> ReadPreluPair(const LayerConfig& config,
                                          const Convention& convention,
                                          const TensorShapes& tensors,
                                          TensorReader& reader);

// No tree: y = act(x.X^T).Y, two linear ops without biases.
absl::StatusOr<LoadedLayer> ReadDenseRows(const LayerConfig& config,
                                          const Convention& convention,
                                          const TensorShapes& tensors,
                                          TensorReader& reader);

}  // namespace fff::importer
