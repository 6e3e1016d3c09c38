#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/checkpoint/checkpoint.h"
#include "server/engine/kernel_list.h"
#include "server/model/model.h"
#include "server/model/model_config.h"
#include "server/model/placement.h"

namespace fff::model {

struct BuildOptions {
  Placement placement;
  // Of the matrices of fff layers on the CPU. The functions below take it from
  // the config, whatever stands here.
  engine::Precision precision = engine::Precision::kFp32;
  // Whether fff layers may be evaluated densely (EngineChoice::kAuto); from the
  // config as well.
  bool dense_allowed = false;
  // What choosing the CPU kernels of one model by measurement may take, all its
  // layers together; 0: by predicted cost (engine::PlanOptions).
  double tuning_seconds = 0;
};

// config.json (or the default config) + checkpoint -> the model that is served.
// Checks every tensor's presence, type and shape and that widths agree between
// layers. INVALID_ARGUMENT messages say file, layer, tensor, got and wanted;
// when no convention is given and several fit, the message lists those that
// fit.
absl::StatusOr<std::shared_ptr<const Model>> BuildModel(
    const ModelConfig& config, const checkpoint::Checkpoint& checkpoint,
    const BuildOptions& options);

// What the dense model beside an FFF model is.
struct DenseTwin {
  std::shared_ptr<const Model> model;
  // true: a trained network (dense.safetensors). false: the FFF's own neurons
  // evaluated densely, a baseline of cost whose outputs mean nothing.
  bool trained = false;
  // One sentence that metadata and reports repeat.
  std::string description;
};

// The cost baseline: every fff layer of `model`'s config replaced by a dense
// feedforward layer over the same neurons (all nodes of all trees, or all
// leaves side by side); other layers stay as they are.
absl::StatusOr<DenseTwin> BuildCostTwin(
    const ModelConfig& config, const checkpoint::Checkpoint& checkpoint,
    const BuildOptions& options);

// The trained dense network of dense.safetensors, checked to have the input and
// output width of `fff`.
absl::StatusOr<DenseTwin> BuildTrainedTwin(
    const ModelConfig& config, const checkpoint::Checkpoint& dense_checkpoint,
    const Model& fff, const BuildOptions& options);

}  // namespace fff::model
