#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/base/progress.h"
#include "server/checkpoint/checkpoint.h"
#include "server/engine/tuning_memo.h"
#include "server/graph/graph.h"
#include "server/importer/model_config.h"
#include "server/model/model.h"
#include "server/model/placement.h"

namespace fff::model {

struct BuildOptions {
  Placement placement;
  // What choosing the CPU kernels of one model by measurement may take, all its
  // layers together; 0: by predicted cost (engine::CompileOptions).
  double tuning_seconds = 0;
  // Measurements of layers of the same shape, in other models, too; may be
  // null. Not of devices.
  engine::TuningMemo* memo = nullptr;
  // Told how far the build is, and may end it: every function that takes these
  // options then returns CANCELLED. May be null.
  base::Progress* progress = nullptr;
};

// What the dense model beside an FFF model is.
struct DenseTwin {
  // Null when the config wants none, or none yet.
  std::shared_ptr<const Model> model;
  // true: a trained network (dense_file.h). false: the FFF's own neurons
  // evaluated densely, a baseline of cost whose outputs mean nothing.
  bool trained = false;
  // One sentence that metadata and reports repeat.
  std::string description;
  // What was assumed of it (importer::ImportDense), or passed over.
  std::vector<std::string> assumed = {};
};

// A network made ready to run, fp32 and by the nodes on the path alone. Errors
// are those of engine::Compile and engine::DeviceEngine::Build.
absl::StatusOr<std::shared_ptr<const Model>> BuildGraph(
    const graph::Graph& graph, const BuildOptions& options);

// The network that the config asks for: in its precision on the CPU (devices
// round by themselves), by its engine. INVALID_ARGUMENT names a weight that the
// precision cannot hold.
absl::StatusOr<std::shared_ptr<const Model>> BuildModel(
    const importer::ModelConfig& config, const graph::Graph& graph,
    const BuildOptions& options);

// The cost baseline (graph::Densify).
absl::StatusOr<DenseTwin> BuildCostTwin(const importer::ModelConfig& config,
                                        const graph::Graph& graph,
                                        const BuildOptions& options);

// The trained dense network of a version (dense_file.h,
// importer::ImportDense).
absl::StatusOr<DenseTwin> BuildTrainedTwin(
    const importer::ModelConfig& config,
    const checkpoint::Checkpoint& dense_checkpoint, const graph::Graph& fff,
    const BuildOptions& options);

}  // namespace fff::model
