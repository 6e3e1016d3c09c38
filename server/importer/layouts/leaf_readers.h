#pragma once

#include "absl/status/statusor.h"
#include "server/importer/convention.h"
#include "server/importer/layouts/tensor_shapes.h"
#include "server/importer/tensor_reader.h"

// Readers of leaf family layouts other than fastfeedforward's. Their weights
// are re-arranged while they are loaded, so that the kernels at hand compute
// them. A bias that is not there is 0. Errors are INVALID_ARGUMENT and name the
// tensor, found and wanted.
namespace fff::importer {

// node_weights [2^d - 1, I], leaf_weights1 [2^d, I, l], leaf_weights2
// [2^d, l, O].
absl::StatusOr<LoadedLayer> ReadLinearLeaf(const LayerConfig& config,
                                           const Convention& convention,
                                           const TensorShapes& tensors,
                                           TensorReader& reader);

// K trees of affine leaves, summed: router_weights [K, 2^d - 1, I] and
// leaf_weights [K, 2^d, I, O], both without the first dimension where K = 1.
absl::StatusOr<LoadedLayer> ReadHyperzensLinear(const LayerConfig& config,
                                                const Convention& convention,
                                                const TensorShapes& tensors,
                                                TensorReader& reader);

// nodes [2^d - 1, I], leaves [2^d * l, I]. With leaves_out.e [O, l] the
// activation stands between the two; without them behind the leaf.
absl::StatusOr<LoadedLayer> ReadFastff(const LayerConfig& config,
                                       const Convention& convention,
                                       const TensorShapes& tensors,
                                       TensorReader& reader);

// gate.nodes [2^d - 1, I], of which a row goes right when z < 0; experts.w1
// [2^d, l, I], experts.w2 [2^d, O, l].
absl::StatusOr<LoadedLayer> ReadFastffGate(const LayerConfig& config,
                                           const Convention& convention,
                                           const TensorShapes& tensors,
                                           TensorReader& reader);

// routers.n [1, I]; experts.e.net.0 [l, D], experts.e.net.3 [D, l]. project_in
// [D, I] before the leaves (not the routers) and project_out [O, D] behind them
// are multiplied into the leaves.
absl::StatusOr<LoadedLayer> ReadMlpUtils(const LayerConfig& config,
                                         const Convention& convention,
                                         const TensorShapes& tensors,
                                         TensorReader& reader);

// catid/fffdistill FFFLinear. route_weight is [2^d - 1, r, I]; a node goes
// right when z > 0 (r = 1) or z1 > z0 (r = 2). Banks of rows have output and
// bias: leaves [2^d, l], then a master and a fallback bank, and shared rows.
//   y = (1 - leak) * leaf + leak * (fallback, or the mean of all leaves)
//       + master + shared + rows of the visited nodes + bias
// The first route_rows_output_count rows of a node (route_output, or
// route_result_output) become neurons of every leaf below it; what answers
// always is a dense branch. config.json's "arguments" must say region_leak, and
// what the shapes leave open.
absl::StatusOr<LoadedLayer> ReadFffDistill(const LayerConfig& config,
                                           const Convention& convention,
                                           const TensorShapes& tensors,
                                           TensorReader& reader);

}  // namespace fff::importer
