#include "tests/unit/serving/test_layer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "gtest/gtest.h"

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

namespace {

// The layers one after another.
class DoublingExecutable : public engine::Executable {
 public:
  explicit DoublingExecutable(std::vector<DoublingLayer::Options> layers)
      : layers_(std::move(layers)), report_(layers_.size()) {
    for (engine::NodeReport& node : report_) node.packed = {{&node, 64}};
  }
  absl::Span<const engine::NodeReport> report() const override {
    return report_;
  }
  absl::Status Run(const engine::Batch& batch,
                   engine::ExecutionContext& /*context*/) const override {
    const tensor::ConstRows x = batch.inputs[0].floats();
    const tensor::MutableRows y = batch.outputs[0];
    std::copy_n(x.data, x.rows * x.width, y.data);
    for (size_t i = 0; i < layers_.size(); ++i) {
      engine::RouteSink sink;
      if (!batch.routes.empty()) sink = batch.routes[i];
      RunLayer(layers_[i], y, sink);
      if (batch.observer != nullptr) (*batch.observer)(i, y);
    }
    return absl::OkStatus();
  }

 private:
  static void RunLayer(const DoublingLayer::Options& layer,
                       tensor::MutableRows rows,
                       const engine::RouteSink& routes) {
    if (layer.log != nullptr) layer.log->Add(layer.name, rows.rows);
    if (layer.gate != nullptr) layer.gate->Enter();
    const graph::RoutingShape& shape = layer.routing;
    for (int64_t r = 0; r < rows.rows; ++r) {
      const float x0 = rows.row(r)[0];
      for (int64_t t = 0; t < shape.trees; ++t) {
        const int64_t at = r * shape.trees + t;
        if (routes.leaves != nullptr) {
          routes.leaves[at] = DoublingLayer::Leaf(layer, x0, t);
        }
        if (routes.margins == nullptr) continue;
        for (int d = 0; d < shape.decisions; ++d) {
          routes.margins[at * shape.decisions + d] =
              DoublingLayer::Margin(x0, t, d);
        }
      }
      for (int64_t i = 0; i < rows.width; ++i) rows.row(r)[i] *= 2;
    }
  }

  const std::vector<DoublingLayer::Options> layers_;
  std::vector<engine::NodeReport> report_;
};

// An op with the layer's width and routing, and no weights.
graph::Op OpOf(const DoublingLayer::Options& layer) {
  using Family = graph::RoutingShape::Family;
  const int64_t width = layer.width;
  if (layer.routing.family == Family::kLeaf) {
    auto weights = std::make_shared<graph::LeafWeights>();
    weights->problem.input_width = width;
    weights->problem.output_width = width;
    weights->problem.depth = layer.routing.depth;
    return graph::FffLeaf{{std::move(weights)}};
  }
  if (layer.routing.family == Family::kPath) {
    auto weights = std::make_shared<graph::PathWeights>();
    weights->problem.input_width = width;
    weights->problem.output_width = width;
    weights->problem.trees = layer.routing.trees;
    weights->problem.levels = layer.routing.decisions;
    return graph::FffPath{{std::move(weights)}, {}};
  }
  return graph::Activate{{std::make_shared<const graph::ActivationWeights>(
      graph::ActivationWeights{{width, width, {}}})}};
}

graph::Graph GraphOf(const std::vector<DoublingLayer::Options>& layers,
                     const ModelOptions& more) {
  const int64_t width = layers.front().width;
  graph::GraphBuilder builder;
  graph::ValueId value =
      builder.AddInput(more.input.value_or(PortOf("input", {width})));
  for (const DoublingLayer::Options& layer : layers) {
    builder.BeginLayer({"fff", "", "", layer.name, width, width});
    value = *builder.Add(OpOf(layer), value);
    EXPECT_EQ(graph::RoutingOf(OpOf(layer)).trees, layer.routing.trees);
    EXPECT_EQ(graph::RoutingOf(OpOf(layer)).depth, layer.routing.depth);
  }
  EXPECT_TRUE(
      builder.AddOutput(more.output.value_or(PortOf("output", {width})), value)
          .ok());
  return std::move(builder).Build();
}

}  // namespace

graph::Port PortOf(const char* name, tensor::Shape shape,
                   std::vector<std::string> labels) {
  return {name, tensor::DataType::kF32, std::move(shape), std::move(labels)};
}

std::shared_ptr<const model::Model> MakeModel(DoublingLayer::Options options,
                                              ModelOptions more) {
  std::vector<DoublingLayer::Options> one;
  one.push_back(std::move(options));
  return MakeModel(std::move(one), std::move(more));
}

std::shared_ptr<const model::Model> MakeModel(
    std::vector<DoublingLayer::Options> options, ModelOptions more) {
  graph::Graph graph = GraphOf(options, more);
  return std::make_shared<model::Model>(
      std::move(graph),
      std::make_unique<DoublingExecutable>(std::move(options)),
      std::move(more.device_copy));
}

std::shared_ptr<const model::Model> MakeModel(
    int64_t width, std::unique_ptr<const engine::Executable> executable) {
  DoublingLayer::Options layer;
  layer.width = width;
  return std::make_shared<model::Model>(GraphOf({layer}, {}),
                                        std::move(executable));
}

}  // namespace fff::serving
