#pragma once

#include <string>

#include "server/model/model.h"

namespace fff::model {

// One line: the layers in their order, a sequence that repeats told once.
// Layers that were folded into others say nothing.
std::string DescribeLayers(const Model& model);

}  // namespace fff::model
