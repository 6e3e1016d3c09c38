#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "server/graph/graph.h"

namespace fff::importer {

// A layer whose weights are read and checked, before the width of the rows that
// reach it is known.
struct LoadedLayer {
  graph::Layer layer;
  int64_t input_width = 0;  // that its weights fix; 0 where any will do
  // Adds the nodes that compute the layer from `in` and returns their result.
  std::function<absl::StatusOr<graph::ValueId>(graph::GraphBuilder& builder,
                                               graph::ValueId in)>
      add;
};

}  // namespace fff::importer
