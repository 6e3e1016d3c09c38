#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/checkpoint/checkpoint.h"
#include "server/importer/layer_config.h"

namespace fff::importer {

// The layers of a dense checkpoint that config.json says nothing about. Every
// `NAME.weight` of rank 2 (with or without `NAME.bias`) is a linear layer. They
// come in the natural order of the names ("fc2" before "fc10"), with ReLU
// between two and none after the last. This is what torch.nn.Sequential of
// Linear and ReLU saves ("0.weight", "2.weight") and what fc1, fc2, ... or
// layers.0, layers.1 usually mean. It is a guess, so it is taken only where the
// names leave no choice. Names must be alike but for one number, and no other
// tensor may be there. Each layer's input width must be the output width of the
// one before. Otherwise INVALID_ARGUMENT, which asks for "dense_layers". Pure
// function.
absl::StatusOr<std::vector<LayerConfig>> DetectDenseLayers(
    const checkpoint::Checkpoint& checkpoint);

// True when `a` stands before `b`: runs of digits compare as numbers.
bool NaturallyBefore(absl::string_view a, absl::string_view b);

}  // namespace fff::importer
