#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/graph/graph.h"
#include "server/importer/input_config.h"
#include "server/importer/layer_loader.h"
#include "server/importer/layers/loaded_layer.h"

namespace fff::importer {

graph::Port PortOf(const EdgeConfig& edge);

// An output, and the value that it is.
struct Output {
  graph::Port port;
  graph::ValueId value = 0;
};

// Adds layers one after another to a graph. Keeps references to what it is made
// with.
class LayerAdder {
 public:
  // `giver`: who makes the rows, for messages.
  LayerAdder(const Names& names, std::string giver, LayerContext context,
             graph::GraphBuilder& builder);

  // What the layers make of `value`. INVALID_ARGUMENT names the layer, got and
  // wanted.
  absl::StatusOr<graph::ValueId> Add(absl::Span<const LoadedLayer> layers,
                                     graph::ValueId value);

  // Those that were among the layers, in their order.
  std::vector<Output>& outputs() { return outputs_; }

 private:
  absl::Status Failed(const LoadedLayer& layer,
                      const absl::Status& status) const;
  absl::StatusOr<graph::ValueId> AddOne(const LoadedLayer& layer,
                                        graph::ValueId value);
  // Its layers, and its input added to what they make.
  absl::StatusOr<graph::ValueId> AddResidual(const LoadedLayer& layer,
                                             graph::ValueId value);
  // What its layers make of the value, which goes on as it is.
  absl::StatusOr<graph::ValueId> AddBranch(const LoadedLayer& layer,
                                           graph::ValueId value);
  absl::Status CheckOutput(const LoadedLayer& layer,
                           const graph::ValueType& made) const;

  const Names& names_;
  std::string giver_;
  const LayerContext context_;
  graph::GraphBuilder& builder_;
  std::vector<Output> outputs_;
};

}  // namespace fff::importer
