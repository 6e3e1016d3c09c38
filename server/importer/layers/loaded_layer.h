#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/base/status_macros.h"
#include "server/graph/graph.h"
#include "server/importer/input_config.h"

namespace fff::importer {

// What layers see beside the value that reaches them.
struct LayerContext {
  std::optional<graph::ValueId> mask;  // the network's input of that role
};

// A layer whose weights are read and checked, before the width of the rows that
// reach it is known.
struct LoadedLayer {
  graph::Layer layer;
  int64_t input_width = 0;  // that its weights fix; 0 where any will do
  // The width behind it is another one, which follows from what reaches it.
  bool reshapes = false;
  // Adds the nodes that compute the layer from `in` and returns their result.
  std::function<absl::StatusOr<graph::ValueId>(graph::GraphBuilder& builder,
                                               graph::ValueId in,
                                               const LayerContext& context)>
      add;
  std::string place = {};  // in config.json: "layers[2].layers[0]"
  // What neither file nor config.json says (assumptions.h); mostly "".
  std::string assumed = {};
  // Of a residual block, which has no `add`: these, and its input added. Of an
  // output, which has none either: what it is computed by; maybe none.
  std::vector<LoadedLayer> inside = {};
  std::optional<EdgeConfig> output = {};
};

// A layer of one op.
inline LoadedLayer OneOp(absl::string_view type, int64_t input_width,
                         graph::Op op) {
  LoadedLayer loaded;
  loaded.layer.type = std::string(type);
  loaded.input_width = input_width;
  loaded.add = [op = std::move(op)](graph::GraphBuilder& builder,
                                    graph::ValueId in,
                                    const LayerContext& /*context*/) {
    return builder.Add(op, in);
  };
  return loaded;
}

// A layer of one op whose problem follows from what reaches it: `of`
// (ValueType) -> StatusOr<Form> says whether that is what the layer wants,
// `make` (Form) -> StatusOr<Op>.
template <class Of, class Make>
LoadedLayer OneOpFrom(std::string type, Of of, Make make) {
  LoadedLayer loaded;
  loaded.layer.type = std::move(type);
  loaded.reshapes = true;
  loaded.add =
      [of, make = std::move(make)](
          graph::GraphBuilder& builder, graph::ValueId in,
          const LayerContext& /*context*/) -> absl::StatusOr<graph::ValueId> {
    FFF_ASSIGN_OR_RETURN(const auto from, of(builder.TypeOf(in)));
    FFF_ASSIGN_OR_RETURN(graph::Op op, make(from));
    return builder.Add(std::move(op), in);
  };
  return loaded;
}

}  // namespace fff::importer
