#include "server/model/describe_layers.h"

#include <vector>

#include "server/base/join_repeated.h"

namespace fff::model {

std::string DescribeLayers(const Model& model) {
  std::vector<std::string> descriptions;
  for (const LayerFacts& layer : model.layers()) {
    if (!layer.description.empty()) descriptions.push_back(layer.description);
  }
  return base::JoinRepeated(descriptions, " | ");
}

}  // namespace fff::model
