#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/engine/problem.h"
#include "server/model/model_config.h"

// The public code bases whose checkpoints are served, as data. A convention
// fixes everything that a state_dict leaves unsaid: which way z = 0 goes, which
// activation stands between the two products, whether a leaf adds a bias.
namespace fff::model {

// How a convention's tensors are laid out; each has one reader.
enum class TensorLayout {
  // node_weights, node_biases, w1s, b1s, w2s, b2s of fastfeedforward.
  kLeaf,
  // kLeaf and magic_w1, magic_b1, magic_w2, magic_b2, k.
  kMasterLeaf,
  // Node rows for input and output: X (T*N, I) and Y (T*N, O).
  kNodeRows,
  // Two torch.nn.Linear: input rows (T*N, I), output columns (O, T*N).
  kLinearPair,
};

struct Convention {
  absl::string_view name;
  Family family;
  TensorLayout layout;
  engine::Tie tie;
  engine::Activation activation;
  bool output_bias;  // leaf family: b2s is added
  bool detectable;   // false: only served when config.json names it
  // Path family: the names of X, b and Y; `bias` is "" where there is none.
  absl::string_view x;
  absl::string_view bias;
  absl::string_view y;
};

// In the order in which messages list them.
absl::Span<const Convention> Conventions();

// Null when there is no such convention.
const Convention* FindConvention(absl::string_view name);

// All names, comma separated, for messages.
std::string ConventionNames();

// Names that a convention's public code saves and that inference does not need.
bool IsIgnoredTensor(absl::string_view name_without_prefix);

// "leaf" or "path", as config.json spells it.
absl::string_view Name(Family family);

}  // namespace fff::model
