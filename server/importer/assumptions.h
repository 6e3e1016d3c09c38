#pragma once

#include <string>

#include "server/importer/convention.h"
#include "server/importer/layer_config.h"
#include "server/importer/layouts/tensor_shapes.h"
#include "server/importer/tensor_reader.h"

namespace fff::importer {

// What neither the file nor config.json says about an FFF layer and was taken
// as the convention has it: which code base it is, its activation, and whether
// its output bias is added. One sentence without its end; "" where nothing was
// assumed. Wrong, it makes plausible answers, so somebody must be told. Reads
// the output bias, whose size says how far answers could be off. `tensors` are
// the layer's.
std::string AssumedOf(const LayerConfig& config, const Convention& convention,
                      const TensorShapes& tensors, TensorReader& reader);

}  // namespace fff::importer
