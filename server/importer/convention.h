#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
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

// How the tensors of an FFF layer are laid out, and the functions that check
// and read them. What detection and the search for leftovers know follows from
// it: a mark of another layout that shares a tensor with this one, but not the
// mark, is foreign to this one.
struct Layout {
  Family family = Family::kLeaf;
  absl::Span<const LayoutTensor> tensors;
  bool all_marks = true;      // every mark is there, not just one of them
  absl::string_view foreign;  // with this tensor, too, it is another layout
  // The number of trees is a matter of config.json or of the shapes; else 1.
  bool many_trees = false;
  bool takes_arguments = false;  // "arguments" of config.json
  // Path family: the names of X, b and Y; `bias` is "" where there is none.
  // y_columns: Y is stored as columns, [output_width, trees * nodes].
  absl::string_view x;
  absl::string_view bias;
  absl::string_view y;
  bool y_columns = false;
  // OK when the shapes can be those of the layout. `trees`: config.json's.
  // Null: names and ranks tell enough.
  absl::Status (*check)(const TensorShapes& tensors,
                        const Convention& convention,
                        std::optional<int64_t> trees) = nullptr;
  // INVALID_ARGUMENT names the tensor, found and wanted. Null: not served.
  absl::StatusOr<LoadedLayer> (*read)(const LayerConfig& config,
                                      const Convention& convention,
                                      const TensorShapes& tensors,
                                      TensorReader& reader) = nullptr;
};

// A public code base, as data: everything that its state_dict leaves unsaid.
struct Convention {
  absl::string_view name;
  absl::string_view source;  // repository, file or class
  const Layout* layout;
  graph::Tie tie = graph::Tie::kRight;
  // Unset: an argument of the public code without a default that runs, so
  // config.json must say it.
  std::optional<graph::Activation> activation = std::nullopt;
  bool output_bias = false;  // leaf family: b2s is added
  bool detectable = true;    // false: only served when config.json names it
  // How the function differs from what tie and activation say; of one that is
  // not served, what is missing.
  absl::string_view remark = {};
  absl::string_view alias = {};  // another name that config.json may use
  // A file without this tensor is taken for the convention, too, but may be of
  // `otherwise`, which the log says.
  absl::string_view told_by = {};
  absl::string_view otherwise = {};
  // The convention of the same tensors that differs in not adding the output
  // bias; "" where there is none.
  absl::string_view without_bias = {};

  Family family() const { return layout->family; }
  bool served() const { return layout->read != nullptr; }
};

// "leaf" or "path", as config.json spells it.
inline absl::string_view Name(Family family) {
  switch (family) {
    case Family::kLeaf:
      return "leaf";
    case Family::kPath:
      return "path";
    case Family::kNone:
      return "none";
  }
  return "none";
}

}  // namespace fff::importer
