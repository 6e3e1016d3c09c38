#include "tests/unit/serving/test_servable.h"

#include <utility>

namespace fff::serving {

std::shared_ptr<const Servable> MakeServable(
    std::shared_ptr<const model::Model> model, const ServableOptions& options) {
  std::vector<int> layers;
  std::vector<int> depths;
  for (size_t i = 0; i < model->layers().size(); ++i) {
    const model::RoutingShape shape = model->layers()[i]->routing();
    if (shape.trees == 0) continue;
    layers.push_back(static_cast<int>(i));
    depths.push_back(shape.depth);
  }
  Servable::Parts parts;
  parts.model_name = options.name;
  parts.version = options.version;
  parts.implementation = options.implementation;
  parts.model = std::move(model);
  parts.device = "cpu";
  parts.batching = options.batching;
  parts.metrics = std::make_shared<metrics::ModelMetrics>(
      metrics::ModelLabels{options.name, "1",
                           std::string(Name(options.implementation)), "cpu"},
      layers, depths);
  return std::make_shared<const Servable>(std::move(parts));
}

TestTask::TestTask(std::vector<float> values, int64_t width)
    : input_(std::move(values)), output_(input_.size(), -1) {
  const int64_t rows = static_cast<int64_t>(input_.size()) / width;
  x = {input_.data(), rows, width};
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
