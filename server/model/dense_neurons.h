#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/model/fff_weights.h"
#include "server/model/loaded_layer.h"

namespace fff::model {

// The neurons of one FFF layer as the dense feedforward network that a program
// without trees would evaluate: two linear layers.
//   path family: I -> T*N with the nodes' biases and activation, T*N -> O.
//   leaf family: I -> leaves*l (+ m of a master leaf), -> O, with the mean of
//     the leaves' output biases.
// With one level a tree, and at depth 0 without a master leaf, every neuron is
// on the path and the outputs are the FFF's own; otherwise they carry no
// meaning. Weights that are laid out alike are shared with `fff`.
std::vector<LoadedLayer> DenseLayersOf(const LoadedFff& fff);

// "4095 nodes", "16 leaves of 8 neurons", for descriptions.
std::string NeuronsOf(const LoadedFff& fff);

}  // namespace fff::model
