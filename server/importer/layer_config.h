#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/graph/picture_ops.h"
#include "server/graph/problem.h"
#include "server/graph/sequence_ops.h"
#include "server/importer/input_config.h"

namespace fff::importer {

inline constexpr int kLayersMax = 256;  // of one list
inline constexpr int kNestingMax = 5;   // kJsonDepthMax allows it
inline constexpr double kEpsilonMax = 1.0;
// Tokens of a sequence at most, where its positions are sines and config.json
// does not say.
inline constexpr int64_t kPositionsDefault = 4096;
// What stands for 0, 1, ... in the prefix of a repeat.
inline constexpr char kRepeatIndex[] = "{i}";

// kNone: a layer without a tree that shares tensors with one; no config.json
// asks for it.
enum class Family { kLeaf, kPath, kNone };

// "arguments" of an fff layer: those of the public code's module that no tensor
// tells. Unset: not said.
struct FffArguments {
  std::optional<double> region_leak;
  std::optional<bool> master_leaf;
  std::optional<bool> fallback_leaf;
  std::optional<int64_t> route_rows_output_count;

  bool any() const {
    return region_leak.has_value() || master_leaf.has_value() ||
           fallback_leaf.has_value() || route_rows_output_count.has_value();
  }
};

// One entry of "layers" or "dense_layers". Which of the fields a type may have
// says its row in layers/; the others keep their defaults.
struct LayerConfig {
  std::string type = "fff";
  std::string prefix;
  // Of an fff layer: unset = the convention's. Of a linear layer: what follows
  // the bias.
  std::optional<graph::Activation> activation;
  double epsilon = 1e-5;
  bool gate_first = false;  // of glu
  // Of fff layers alone.
  std::string convention;  // "" = detect from the tensors' names and shapes
  std::optional<int64_t> trees;
  std::optional<Family> family;
  std::optional<graph::Tie> tie;
  std::optional<bool> output_bias;
  FffArguments arguments;
  EdgeConfig output;  // of output: name and labels
  // Of repeat, residual and output.
  int64_t count = 1;
  std::vector<LayerConfig> layers;
  // Of what sees pictures.
  std::optional<graph::Pair> size;
  std::optional<graph::Pair> stride;  // unset: 1, of a pool its size
  graph::Pair padding = {0, 0};
  graph::Pair dilation;
  int64_t groups = 1;
  double scale = 1;               // of normalize: what pixels are multiplied by
  std::vector<double> mean;       // one number, or one per channel
  std::vector<double> deviation;  // likewise
  // Of what sees sequences. Names are those of tensors, the prefix included.
  std::string tensor;
  std::string scale_tensor;
  bool sinusoidal = false;
  graph::PoolTokensProblem::Over over = graph::PoolTokensProblem::Over::kMean;
  bool masked = false;            // pool over what the mask names
  std::optional<int64_t> length;  // of a table of sines
  int64_t heads = 1;
  bool causal = false;
  bool exclude_self = false;
  std::optional<double> mask_value;  // unset: the mask is not looked at
  graph::AttentionProblem::Layout layout =
      graph::AttentionProblem::Layout::kBlocks;
  std::vector<std::string> qkv;  // prefixes: of one linear layer, or of three
  std::string weight = "weight";
  std::string bias = "bias";
  std::optional<std::string> out;  // prefix
};

}  // namespace fff::importer
