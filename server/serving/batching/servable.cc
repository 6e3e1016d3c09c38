#include "server/serving/batching/servable.h"

#include "absl/strings/str_cat.h"

namespace fff::serving {

absl::string_view Name(Implementation implementation) {
  return implementation == Implementation::kFff ? "fff" : "dense";
}

std::vector<metrics::RoutingLayer> RoutingLayers(const model::Model& model) {
  std::vector<metrics::RoutingLayer> layers;
  for (size_t i = 0; i < model.layers().size(); ++i) {
    const graph::RoutingShape& shape = model.layers()[i].routing;
    if (shape.trees == 0) continue;
    layers.push_back({static_cast<int>(i), shape.depth});
  }
  return layers;
}

Servable::Servable(Parts parts)
    : parts_(std::move(parts)),
      name_(parts_.implementation == Implementation::kFff
                ? parts_.model_name
                : absl::StrCat(parts_.model_name, kDenseSuffix)) {}

std::string Servable::Describe() const {
  return absl::StrCat("model '", name_, "' version ", parts_.version);
}

}  // namespace fff::serving
