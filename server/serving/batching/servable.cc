#include "server/serving/batching/servable.h"

#include "absl/strings/str_cat.h"

namespace fff::serving {

absl::string_view Name(Implementation implementation) {
  return implementation == Implementation::kFff ? "fff" : "dense";
}

namespace {

bool AlwaysOnDevice(const model::Model& model) {
  const model::DeviceCopy* const copy = model.device_copy();
  return copy != nullptr && copy->rows_min() <= 1;
}

}  // namespace

std::vector<metrics::RoutingLayer> RoutingLayers(const model::Model& model) {
  std::vector<metrics::RoutingLayer> layers;
  for (size_t i = 0; i < model.layers().size(); ++i) {
    const graph::RoutingShape& shape = model.layers()[i].routing;
    if (shape.trees == 0) continue;
    layers.push_back({static_cast<int>(i), shape.depth});
  }
  return layers;
}

std::shared_ptr<const model::NodeGroups> NodeGroupsOf(const model::Model& fff) {
  if (AlwaysOnDevice(fff)) return nullptr;
  auto groups = model::NodeGroups::Of(fff);
  if (!groups.Divide()) return nullptr;
  return std::make_shared<const model::NodeGroups>(std::move(groups));
}

std::shared_ptr<const model::NodeGroups> NodeGroupsOfTwin(
    const model::Model& dense, const model::Model& fff) {
  if (AlwaysOnDevice(dense)) return nullptr;
  auto groups = model::NodeGroups::OfTwin(dense, fff);
  if (!groups.has_value() || !groups->Divide()) return nullptr;
  return std::make_shared<const model::NodeGroups>(*std::move(groups));
}

std::vector<metrics::LayerGroup> LayerGroups(const model::NodeGroups* groups) {
  std::vector<metrics::LayerGroup> made;
  if (groups == nullptr) return made;
  for (const model::NodeGroup& group : groups->groups) {
    made.push_back({group.layer, group.count, group.feedforward,
                    static_cast<int>(group.first_layer)});
  }
  return made;
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
