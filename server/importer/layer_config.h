#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "server/graph/problem.h"

namespace fff::importer {

inline constexpr int kLayersMax = 256;

enum class Family { kLeaf, kPath };

// One entry of "layers" or "dense_layers". Which of the fields a type may have
// says its row in layer_types.cc; the others keep their defaults.
struct LayerConfig {
  std::string type = "fff";
  std::string prefix;
  // Of an fff layer: unset = the convention's. Of a linear layer: what follows
  // the bias.
  std::optional<graph::Activation> activation;
  double epsilon = 1e-5;
  // Of fff layers alone.
  std::string convention;  // "" = detect from the tensors' names and shapes
  std::optional<int64_t> trees;
  std::optional<Family> family;
  std::optional<graph::Tie> tie;
  std::optional<bool> output_bias;
};

}  // namespace fff::importer
