#include "tests/unit/serving/test_servable.h"

#include <utility>

namespace fff::serving {

std::shared_ptr<const Servable> MakeServable(
    std::shared_ptr<const model::Model> model, const ServableOptions& options) {
  Servable::Parts parts;
  parts.model_name = options.name;
  parts.version = options.version;
  parts.implementation = options.implementation;
  parts.model = std::move(model);
  parts.device = "cpu";
  parts.batching = options.batching;
  parts.metrics = std::make_shared<metrics::ModelMetrics>(metrics::ModelLabels{
      options.name, "1", std::string(Name(options.implementation)), "cpu"});
  const std::vector<metrics::RoutingLayer> layers = RoutingLayers(*parts.model);
  parts.leaf_visits =
      std::make_shared<metrics::LayerVisits>(layers.begin(), layers.end());
  parts.node_groups = NodeGroupsOf(*parts.model);
  if (parts.node_groups != nullptr) {
    parts.layer_times = std::make_shared<metrics::LayerTimes>(
        LayerGroups(parts.node_groups.get()));
  }
  return std::make_shared<const Servable>(std::move(parts));
}

TestTask::TestTask(std::vector<float> values, int64_t width)
    : input_(std::move(values)), output_(input_.size(), -1) {
  const int64_t rows = static_cast<int64_t>(input_.size()) / width;
  inputs = {tensor::ConstRows{input_.data(), rows, width}};
  y = {output_.data(), rows, width};
}

void TestTask::OnDone(const absl::Status& status) {
  status_ = status;
  done_.Notify();
}

const absl::Status& TestTask::Await() {
  done_.WaitForNotification();
  return status_;
}

}  // namespace fff::serving
