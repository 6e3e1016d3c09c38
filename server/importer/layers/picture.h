#pragma once

#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "server/base/status_macros.h"
#include "server/importer/json_fields.h"
#include "server/importer/layers/loaded_layer.h"

// What the layers that see pictures share. Included by .cc files of this folder
// only.
namespace fff::importer {

inline constexpr IntegerRange kWindowSizes = {1, 1 << 16};

// Rows and columns; nothing when absent or wrong.
std::optional<graph::Pair> ReadPair(JsonFields& fields, const char* key,
                                    IntegerRange range);

// INVALID_ARGUMENT where the value is no picture.
absl::StatusOr<graph::Picture> PictureOf(const graph::ValueType& type);

// One op whose problem follows from the picture that reaches it:
// `make` (Picture) -> StatusOr<Op>.
template <class Make>
LoadedLayer FromPicture(std::string type, Make make) {
  LoadedLayer loaded;
  loaded.layer.type = std::move(type);
  loaded.reshapes = true;
  loaded.add =
      [make = std::move(make)](
          graph::GraphBuilder& builder, graph::ValueId in,
          const LayerContext& /*context*/) -> absl::StatusOr<graph::ValueId> {
    FFF_ASSIGN_OR_RETURN(const graph::Picture from,
                         PictureOf(builder.TypeOf(in)));
    FFF_ASSIGN_OR_RETURN(graph::Op op, make(from));
    return builder.Add(std::move(op), in);
  };
  return loaded;
}

}  // namespace fff::importer
