#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "server/tensor/data_type.h"

// "input" and "output" of config.json.
namespace fff::importer {

class JsonFields;

inline constexpr int kLabelsMax = 65536;
// Of the input that names tokens, where config.json does not say.
inline constexpr char kPositionsName[] = "positions";
inline constexpr size_t kEdgeNameBytesMax = 256;

struct EdgeConfig {
  std::string name;            // "" = "input" / "output"
  std::vector<int64_t> shape;  // empty = [width]; of a sequence: of one token
  std::vector<std::string> labels;  // of the output
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

}  // namespace fff::importer
