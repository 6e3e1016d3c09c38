#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/importer/json_fields.h"
#include "server/importer/layer_config.h"
#include "server/importer/layers/loaded_layer.h"
#include "server/importer/tensor_reader.h"

// A layer type of config.json: which fields an entry has and which ops it
// becomes. Included by .cc files of this folder only.
namespace fff::importer {

// Whether an entry has "layers" of its own. kBranch: it may have some; what
// they make goes elsewhere, and the layers behind the entry see what it saw.
enum class Nests { kNothing, kOnce, kRepeated, kBranch };

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

// The types, each group's in the file of its name. layer_types.cc joins them.
absl::Span<const LayerType> FffLayers();  // fff_layer.cc
// What sees one row, or one token, at a time: row_layers.cc.
absl::Span<const LayerType> RowLayers();
// What sees pictures, [channels, height, width]: picture_layers.cc; what makes
// a sequence of one: patch_layers.cc.
absl::Span<const LayerType> PictureLayers();
absl::Span<const LayerType> PatchLayers();
// What sees sequences, [tokens, width] where all rows have the same length,
// else a value per token: token_layers.cc, attention_layer.cc and the others,
// sequence_layers.cc.
absl::Span<const LayerType> TokenLayers();
absl::Span<const LayerType> SequenceLayers();
absl::Span<const LayerType> AttentionLayers();

// For types without fields.
inline void ReadNothing(JsonFields& /*fields*/, LayerConfig& /*config*/) {}

}  // namespace fff::importer
