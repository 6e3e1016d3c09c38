#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "server/tensor/data_type.h"

// "input" and "output" of config.json, and further outputs' edges.
namespace fff::importer {

class JsonFields;

inline constexpr int kLabelsMax = 65536;
// Of the input that names tokens, where config.json does not say.
inline constexpr char kPositionsName[] = "positions";
inline constexpr size_t kEdgeNameBytesMax = 256;
// Behind the main output's name: what an answer calls the columns of the
// strongest. No other output has this name.
inline constexpr char kTopIdsSuffix[] = "_ids";

struct EdgeConfig {
  std::string name;            // "" = "input" / "output"
  std::vector<int64_t> shape;  // empty = [width]; of a sequence: of one token
  std::vector<std::string> labels;  // of an output
  // Of inputs alone, as graph::Port says.
  tensor::DataType data_type = tensor::DataType::kF32;
  bool sequence = false;
  bool mask = false;
  bool optional = false;
  bool positions = false;  // names the tokens whose outputs are wanted
};

// One entry where the key is absent or an object, else those of the list: one
// of data, and a mask and positions at most. Errors go to model.errors().
std::vector<EdgeConfig> ReadInputs(JsonFields& model);
EdgeConfig ReadOutput(JsonFields& model);
// "name" and "labels" of a layer that is an output. Errors go to
// layer.errors().
EdgeConfig ReadFurtherOutput(JsonFields& layer);

}  // namespace fff::importer
