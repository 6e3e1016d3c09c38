#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "absl/strings/string_view.h"
#include "server/graph/op_over.h"
#include "server/graph/weights.h"
#include "server/tensor/float_array.h"

// The FFF ops and the dense layer that they are held against. Their problems
// and weights stand in problem.h and weights.h, which all kernels share.
namespace fff::graph {

struct FffPath : OpOver<PathWeights> {
  static constexpr absl::string_view kName = "fff_path";
  // The output rows as the checkpoint's columns, [output_width, trees * nodes],
  // or empty: what the dense twin shares instead of transposing y once more.
  // Reduce drops them, so a served graph has none.
  tensor::FloatArray y_columns;

  std::string Describe() const;
  Cost cost() const;
  int64_t weights_bytes() const;
  RoutingShape routing() const;
  NeuronCount neurons() const;
};

struct FffLeaf : OpOver<LeafWeights> {
  static constexpr absl::string_view kName = "fff_leaf";
  std::string Describe() const;
  Cost cost() const;
  int64_t weights_bytes() const;
  RoutingShape routing() const;
  NeuronCount neurons() const;
};

struct Linear : OpOver<DenseWeights> {
  static constexpr absl::string_view kName = "linear";
  std::string Describe() const;
  Cost cost() const;
  int64_t weights_bytes() const;
  NeuronCount neurons() const;
};

// The list of this file's ops, for the one of all (op.h).
using FffOps = std::variant<FffPath, FffLeaf, Linear>;

}  // namespace fff::graph
