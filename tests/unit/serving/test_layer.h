#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/engine/executable.h"
#include "server/graph/graph.h"
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
struct DoublingLayer {
  struct Options {
    std::string name = "doubling";
    int64_t width = 1;
    graph::RoutingShape routing;
    Gate* gate = nullptr;   // entered by every run
    RunLog* log = nullptr;  // gets every run
  };
  static int32_t Leaf(const Options& options, float x0, int64_t tree);
  static float Margin(float x0, int64_t tree, int decision);
};

graph::Port PortOf(const char* name, tensor::Shape shape,
                   std::vector<std::string> labels = {});

// What a model around DoublingLayers has beside them.
struct ModelOptions {
  std::optional<graph::Port> input;  // by default "input", [width]
  std::optional<graph::Port> output;
  std::unique_ptr<const model::DeviceCopy> device_copy;
};

// A model of one DoublingLayer, or of several in a chain.
std::shared_ptr<const model::Model> MakeModel(DoublingLayer::Options options,
                                              ModelOptions more = {});
std::shared_ptr<const model::Model> MakeModel(
    std::vector<DoublingLayer::Options> options, ModelOptions more = {});

// A model of one layer without routes of `width` columns that `executable`
// computes.
std::shared_ptr<const model::Model> MakeModel(
    int64_t width, std::unique_ptr<const engine::Executable> executable);

}  // namespace fff::serving
