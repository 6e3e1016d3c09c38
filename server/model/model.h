#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/engine/executable.h"
#include "server/graph/graph.h"
#include "server/model/device_copy.h"
#include "server/model/weights_memory.h"

namespace fff::model {

// One layer of config.json as reports, metrics and the wire see it.
struct LayerFacts {
  std::string type;         // "fff", "linear", ...
  std::string description;  // one line for people
  int64_t input_width = 0;
  int64_t output_width = 0;
  graph::RoutingShape routing;
  // That take ways of their own; of sequences of any length SampleTokens.
  int64_t tokens_per_row = 1;
  graph::NeuronCount neurons;  // none in a layer that does not route
  graph::Cost cost;
  int64_t weights_bytes = 0;  // canonical and packed together
};

// A network with what runs it: the graph that is served, made ready for the CPU
// and, maybe, for a device. Immutable after build, shared by shared_ptr; Run
// may be called from many threads, each with its own context.
class Model {
 public:
  Model(graph::Graph graph, std::unique_ptr<const engine::Executable> cpu,
        std::unique_ptr<const DeviceCopy> device_copy = nullptr);

  // What is served. Its linear ops lack the rows that kernels hold packed.
  const graph::Graph& graph() const { return graph_; }
  // The same with all weights, of which those that were packed are unpacked
  // into new memory: what a twin or another network is made of.
  absl::StatusOr<graph::Graph> WholeGraph() const;
  // Of a model of one input; what is asked of rows of floats alone asks this.
  const graph::Port& input() const { return graph_.inputs()[0]; }
  // The main output, which is the first. Labels, top_k and positions are of it.
  const graph::Port& output() const { return graph_.outputs()[0]; }
  absl::Span<const LayerFacts> layers() const { return layers_; }
  int64_t weights_bytes() const;  // in host memory
  // What its weights take beside those that `memory` has counted.
  WeightsBytes CountWeights(WeightsMemory& memory) const;
  const graph::Cost& cost() const { return cost_; }  // sum over layers

  const DeviceCopy* device_copy() const { return device_copy_.get(); }
  // "cpu", "cuda:0" or, when batch sizes are divided, "cpu+cuda:0".
  std::string device() const;
  // Which kernel serves which batch size of layer i, on either side: that of
  // the op that routes, else of the first; empty for a layer without ops.
  std::vector<engine::KernelPlan::Step> KernelSteps(size_t i) const;
  // The name of that for a batch of `rows` rows, whose tokens the op may see as
  // rows of its own; sequences of any length have SampleTokens.
  std::string KernelFor(size_t i, int64_t rows) const;

  // On the device from device_copy()->rows_min() rows on, else on the CPU,
  // which also answers when the device has failed, so that no request is lost
  // with it, and where tokens are selected.
  void Run(const engine::Batch& batch, engine::ExecutionContext& context) const;
  // The same on the CPU whatever the batch size.
  void RunOnCpu(const engine::Batch& batch,
                engine::ExecutionContext& context) const;

 private:
  bool RunOnDevice(const engine::Batch& batch,
                   engine::ExecutionContext& context) const;
  // The node that stands for layer i in reports, or -1.
  int MainNode(size_t i) const { return main_nodes_[i]; }

  graph::Graph graph_;
  std::unique_ptr<const engine::Executable> cpu_;
  std::unique_ptr<const DeviceCopy> device_copy_;  // or null
  std::vector<LayerFacts> layers_;
  std::vector<int> main_nodes_;  // by layer
  graph::Cost cost_;
};

// Leaves, and margins when asked for, of every layer that routes, for a batch,
// and sinks into them. Memory is kept from call to call.
class Routes {
 public:
  void Prepare(const Model& model, const engine::Extent& extent, bool margins);

  absl::Span<const engine::RouteSink> sinks() const { return sinks_; }
  // [rows, tokens, trees], [tokens of all rows, trees] where they are sequences
  // of any length; empty for a layer that does not route.
  absl::Span<const int32_t> leaves(size_t layer) const {
    return {leaves_[layer].data(), counts_[layer].leaves};
  }
  // [.., decisions]; empty where none were asked for.
  absl::Span<const float> margins(size_t layer) const {
    return {margins_[layer].data(), counts_[layer].margins};
  }

 private:
  struct Counts {
    size_t leaves = 0;
    size_t margins = 0;
  };
  std::vector<std::vector<int32_t>> leaves_;  // by layer, as all below
  std::vector<std::vector<float>> margins_;
  std::vector<Counts> counts_;
  std::vector<engine::RouteSink> sinks_;
};

}  // namespace fff::model
