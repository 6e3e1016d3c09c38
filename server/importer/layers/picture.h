#pragma once

#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
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
  return OneOpFrom(std::move(type), PictureOf, std::move(make));
}

}  // namespace fff::importer
