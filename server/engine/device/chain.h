#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/engine/device/layer.h"
#include "server/engine/device_engine.h"
#include "server/engine/kernel_tuner.h"
#include "server/engine/memory_plan.h"
#include "server/graph/graph.h"

namespace fff::engine {

// The nodes of a graph on one device, a layer each, with a choice of kernels
// and a plan of where values lie. Immutable once tuned; its lanes share it.
class Chain {
 public:
  // Copies all weights to the device, which the thread must use; every layer
  // gets its first candidate, or `kernel_name` (INVALID_ARGUMENT when a layer
  // has no such kernel).
  static absl::StatusOr<std::unique_ptr<Chain>> Make(
      const graph::Graph& graph, const DeviceOptions& options, Device& device);

  Device& device() const { return device_; }
  size_t size() const { return layers_.size(); }
  const DeviceLayer& layer(size_t i) const { return *layers_[i]; }
  // The node that layer i computes; its layer is that of the sinks.
  const graph::Node& node(size_t i) const { return nodes_[i]; }
  const Place& place(graph::ValueId value) const {
    return memory_.places[static_cast<size_t>(value)];
  }
  int64_t input_width() const { return input_width_; }
  int64_t output_width() const { return output_width_; }
  // How many sinks a call has.
  size_t sinks() const { return sinks_; }
  int64_t rows_max() const { return build_.rows_max; }  // of a lane
  WeightType type() const { return build_.type; }       // of weights and rows
  int64_t weights_bytes() const;
  ScratchNeed needs() const;
  // Elements per row of each slot between the layers.
  std::vector<int64_t> slot_pitches() const;

  // What may compute layer i at `rows` rows: what is worth while, or whatever
  // is called kernel_name.
  std::vector<Candidate> Candidates(size_t i, int64_t rows) const;
  void Choose(std::vector<Choices> choices);  // of all layers
  const Candidate& ChosenFor(size_t i, int64_t rows) const {
    return ChoiceFor(choices_[i], rows).candidate;
  }

 private:
  Chain(const graph::Graph& graph, Device& device)
      : input_width_(graph.inputs()[0].width()),
        output_width_(graph.outputs()[0].width()),
        sinks_(graph.layers().size()),
        device_(device),
        memory_(PlanMemory(graph)) {}
  absl::Status UploadLayers();
  bool RoutesBehind(size_t i) const;  // in a layer after layer i

  int64_t input_width_;
  int64_t output_width_;
  size_t sinks_;
  Device& device_;
  MemoryPlan memory_;
  LayerBuild build_;
  std::vector<graph::Node> nodes_;  // without their weights
  std::vector<std::unique_ptr<DeviceLayer>> layers_;
  std::vector<Choices> choices_;
};

}  // namespace fff::engine
