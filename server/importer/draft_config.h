#pragma once

#include <string>
#include <vector>

#include "server/importer/layouts/tensor_shapes.h"

namespace fff::importer {

// A config.json to begin with, for a file that says only names and shapes.
struct DraftConfig {
  std::string json;
  // What somebody has to check or complete, a sentence each.
  std::vector<std::string> remarks;
};

// Lists the layers that the tensors look like, in the natural order of their
// names: FFF layers of the conventions that fit (detect.h), linear layers,
// convolutions, and norms. No file tells activations between layers, their
// order or residual sums: the remarks say so. Pure function.
DraftConfig DraftOf(const TensorShapes& tensors);

}  // namespace fff::importer
