#pragma once

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "server/graph/graph.h"

// Graph in, graph out; pure, but they may allocate weights.
namespace fff::graph {

// What is served: the matrices of FFF ops in `precision` (reduced_weights.h)
// and nothing that only other passes read (FffPath::y_columns). Other ops stay
// as they are. INVALID_ARGUMENT names a weight that has no finite value there.
absl::StatusOr<Graph> Reduce(const Graph& graph, Precision precision);

// Every FFF op replaced by the neurons that a program without trees would
// evaluate, two linear ops:
//   path family: I -> T*N with the nodes' biases and activation, T*N -> O.
//   leaf family: I -> leaves*l, -> O, with the mean of the leaves' output
//     biases. A blend with a master leaf becomes part of the two.
// With one level per tree, and at depth 0, every neuron is on the path and the
// outputs are the FFF's own; otherwise they carry no meaning, so outputs lose
// their labels. Weights that are laid out alike are shared.
absl::StatusOr<Graph> Densify(const Graph& graph);

// The FFF ops as Densify sees them, "4095 nodes", "16 leaves of 8 neurons", one
// per layer that has one. For descriptions.
std::vector<std::string> NeuronsOf(const Graph& graph);

// Linear ops without their w, where `drops` says so of the node with that
// index: kernels hold it in a layout of their own (DenseWeights::copies).
absl::StatusOr<Graph> WithoutRows(const Graph& graph,
                                  absl::FunctionRef<bool(size_t node)> drops);

// The opposite: w unpacked from a copy that some kernel holds, bit by bit.
// FAILED_PRECONDITION when no kernel holds one any more.
absl::StatusOr<Graph> WithRows(const Graph& graph);

// A scale per output, then an activation, behind a linear op or a convolution
// that nothing else reads become part of it.
absl::StatusOr<Graph> Fuse(const Graph& graph);

}  // namespace fff::graph
