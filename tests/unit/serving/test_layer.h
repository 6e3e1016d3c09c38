#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/model/layer.h"
#include "server/model/model.h"

// Layers whose results a test can tell by heart, and that it can hold back.
namespace fff::serving {

// A barrier that a layer waits at. Thread-safe.
class Gate {
 public:
  // Blocks the calling layer until a pass is left.
  void Enter();
  // Blocks until `count` calls of Enter have begun since the start.
  void AwaitEntered(int count);
  // Lets `count` more calls through, or all that ever come.
  void Admit(int count);
  void Open() { Admit(1 << 20); }

 private:
  absl::Mutex mutex_;
  int entered_ ABSL_GUARDED_BY(mutex_) = 0;
  int passes_ ABSL_GUARDED_BY(mutex_) = 0;
};

// What layers were asked to do, in order. Thread-safe.
class RunLog {
 public:
  void Add(const std::string& layer, int64_t rows);
  std::vector<int64_t> rows() const;
  std::vector<std::string> layers() const;

 private:
  mutable absl::Mutex mutex_;
  std::vector<std::string> layers_ ABSL_GUARDED_BY(mutex_);
  std::vector<int64_t> rows_ ABSL_GUARDED_BY(mutex_);
};

// y = 2x. With trees > 0 it also reports a route: the leaf of tree t for row x
// is (x[0] + t) modulo 2^depth, its margin d is 100 x[0] + 10 t + d.
class DoublingLayer : public model::Layer {
 public:
  struct Options {
    std::string name = "doubling";
    int64_t width = 1;
    model::RoutingShape routing;
    Gate* gate = nullptr;   // entered by every run
    RunLog* log = nullptr;  // gets every run
  };
  explicit DoublingLayer(Options options) : options_(std::move(options)) {}

  static int32_t Leaf(const Options& options, float x0, int64_t tree);
  static float Margin(float x0, int64_t tree, int decision);

  std::string type() const override { return "fff"; }
  std::string Describe() const override { return options_.name; }
  int64_t input_width() const override { return options_.width; }
  int64_t output_width() const override { return options_.width; }
  model::RoutingShape routing() const override { return options_.routing; }
  int64_t weights_bytes() const override { return 64; }
  model::LayerCost cost() const override { return {}; }
  void Run(tensor::ConstRows x, tensor::MutableRows y,
           const engine::RouteSink& routes,
           engine::ExecutionContext& context) const override;

 private:
  const Options options_;
};

// A model of one DoublingLayer, or of several in a chain.
std::shared_ptr<model::Model> MakeModel(DoublingLayer::Options options);
std::shared_ptr<model::Model> MakeModel(
    std::vector<DoublingLayer::Options> options);

}  // namespace fff::serving
