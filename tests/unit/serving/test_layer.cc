#include "tests/unit/serving/test_layer.h"

#include <cmath>
#include <utility>

namespace fff::serving {

void Gate::Enter() {
  absl::MutexLock lock(&mutex_);
  ++entered_;
  const auto may_pass = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return passes_ > 0;
  };
  mutex_.Await(absl::Condition(&may_pass));
  --passes_;
}

void Gate::AwaitEntered(int count) {
  absl::MutexLock lock(&mutex_);
  const auto reached = [this, count]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return entered_ >= count;
  };
  mutex_.Await(absl::Condition(&reached));
}

void Gate::Admit(int count) {
  absl::MutexLock lock(&mutex_);
  passes_ += count;
}

void RunLog::Add(const std::string& layer, int64_t rows) {
  absl::MutexLock lock(&mutex_);
  layers_.push_back(layer);
  rows_.push_back(rows);
}

std::vector<int64_t> RunLog::rows() const {
  absl::MutexLock lock(&mutex_);
  return rows_;
}

std::vector<std::string> RunLog::layers() const {
  absl::MutexLock lock(&mutex_);
  return layers_;
}

int32_t DoublingLayer::Leaf(const Options& options, float x0, int64_t tree) {
  const int64_t leaves = int64_t{1} << options.routing.depth;
  return static_cast<int32_t>((std::lround(x0) + tree) % leaves);
}

float DoublingLayer::Margin(float x0, int64_t tree, int decision) {
  return 100 * x0 + static_cast<float>(10 * tree + decision);
}

void DoublingLayer::Run(tensor::ConstRows x, tensor::MutableRows y,
                        const engine::RouteSink& routes,
                        engine::ExecutionContext& /*context*/) const {
  if (options_.log != nullptr) options_.log->Add(options_.name, x.rows);
  if (options_.gate != nullptr) options_.gate->Enter();
  for (int64_t i = 0; i < x.rows * x.width; ++i) y.data[i] = 2 * x.data[i];
  const model::RoutingShape& shape = options_.routing;
  for (int64_t r = 0; r < x.rows; ++r) {
    const float x0 = x.row(r)[0];
    for (int64_t t = 0; t < shape.trees; ++t) {
      const int64_t at = r * shape.trees + t;
      if (routes.leaves != nullptr) {
        routes.leaves[at] = Leaf(options_, x0, t);
      }
      if (routes.margins == nullptr) continue;
      for (int d = 0; d < shape.decisions; ++d) {
        routes.margins[at * shape.decisions + d] = Margin(x0, t, d);
      }
    }
  }
}

std::shared_ptr<model::Model> MakeModel(DoublingLayer::Options options) {
  std::vector<DoublingLayer::Options> one;
  one.push_back(std::move(options));
  return MakeModel(std::move(one));
}

std::shared_ptr<model::Model> MakeModel(
    std::vector<DoublingLayer::Options> options) {
  const int64_t width = options.front().width;
  std::vector<std::unique_ptr<const model::Layer>> layers;
  for (DoublingLayer::Options& layer : options) {
    layers.push_back(std::make_unique<DoublingLayer>(std::move(layer)));
  }
  return std::make_shared<model::Model>(
      model::TensorSpec{"input", {width}, {}},
      model::TensorSpec{"output", {width}, {}}, std::move(layers));
}

}  // namespace fff::serving
