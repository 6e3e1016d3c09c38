#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/graph/problem.h"
#include "server/importer/layer_config.h"
#include "server/importer/layers/loaded_layer.h"

namespace fff::importer {

class TensorReader;
struct TensorShapes;
struct Convention;

// A tensor of a layout, by its name without prefix.
struct LayoutTensor {
  absl::string_view name;
  // What detection knows the layout by: 0, a tensor that tells nothing; kAny, a
  // mark of any rank; else a mark of this rank.
  static constexpr int kAny = -1;
  int mark_rank = 0;
};

// How the tensors of an FFF layer are laid out, and the function that reads
// them. What detection and the search for leftovers know follows from it.
struct Layout {
  Family family = Family::kLeaf;
  absl::Span<const LayoutTensor> tensors;
  bool all_marks = false;        // every mark is there, not just one of them
  absl::string_view foreign;     // with this tensor it is another layout
  bool adds_to_another = false;  // without these it would be another function
  // Path family: the names of X, b and Y; `bias` is "" where there is none.
  // y_columns: Y is stored as columns, [output_width, trees * nodes].
  absl::string_view x;
  absl::string_view bias;
  absl::string_view y;
  bool y_columns = false;
  // INVALID_ARGUMENT names the tensor, found and wanted.
  absl::StatusOr<LoadedLayer> (*read)(const LayerConfig& config,
                                      const Convention& convention,
                                      const TensorShapes& tensors,
                                      TensorReader& reader) = nullptr;
};

// A public code base, as data: everything that its state_dict leaves unsaid.
struct Convention {
  absl::string_view name;
  const Layout* layout;
  graph::Tie tie;
  graph::Activation activation;
  bool output_bias;  // leaf family: b2s is added
  bool detectable;   // false: only served when config.json names it

  Family family() const { return layout->family; }
};

// "leaf" or "path", as config.json spells it.
inline absl::string_view Name(Family family) {
  return family == Family::kLeaf ? "leaf" : "path";
}

}  // namespace fff::importer
