#include "server/model/builder.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/status_macros.h"
#include "server/engine/compile.h"
#include "server/graph/passes.h"
#include "server/importer/import.h"
#include "server/model/device_build.h"

namespace fff::model {
namespace {

using importer::ModelConfig;

constexpr size_t kPartsShown = 4;

// `served` runs on the CPU, `exact` (fp32) on devices.
absl::StatusOr<std::shared_ptr<const Model>> Build(
    graph::Graph served, const graph::Graph& exact,
    const engine::CompileOptions& compile, const Placement& placement) {
  FFF_ASSIGN_OR_RETURN(auto cpu, engine::Compile(served, compile));
  FFF_RETURN_IF_ERROR(base::Advance(compile.progress, 0));
  FFF_ASSIGN_OR_RETURN(auto copy, CopyToDevice(exact, *cpu, placement));
  FFF_ASSIGN_OR_RETURN(served, graph::WithoutRows(served, [&](size_t node) {
                         return !cpu->report()[node].reads_plain_rows;
                       }));
  return std::make_shared<const Model>(std::move(served), std::move(cpu),
                                       std::move(copy));
}

std::string CostDescription(std::vector<std::string> neurons) {
  if (neurons.empty()) {
    return "the same network: the model has no FFF layer to hold it against";
  }
  if (neurons.size() > kPartsShown) {
    const size_t more = neurons.size() - kPartsShown;
    neurons.resize(kPartsShown);
    neurons.push_back(absl::StrCat(more, " more layers"));
  }
  return absl::StrCat("cost baseline: the FFF's own ",
                      absl::StrJoin(neurons, " + "),
                      " evaluated densely; outputs carry no meaning");
}

// "784 -> 128 relu -> 10".
std::string NetworkOf(const graph::Graph& dense) {
  std::string text = absl::StrCat(dense.inputs()[0].width());
  for (const graph::Node& node : dense.nodes()) {
    if (const auto* linear = std::get_if<graph::Linear>(&node.op)) {
      const graph::DenseProblem& problem = linear->problem();
      absl::StrAppend(&text, " -> ", problem.output_width);
      if (problem.activation != graph::Activation::kIdentity) {
        absl::StrAppend(&text, " ", graph::Name(problem.activation));
      }
    } else if (const auto* act = std::get_if<graph::Activate>(&node.op)) {
      absl::StrAppend(&text, " ", graph::Name(act->problem().activation));
    } else {
      absl::StrAppend(&text, " ", graph::NameOf(node.op));
    }
  }
  return text;
}

// The twin is fp32 on the CPU always: no weaker an opponent for the FFF's
// rounding, nor a stronger one.
std::string PrecisionNote(const ModelConfig& config) {
  if (config.precision == graph::Precision::kFp32) return "";
  return absl::StrCat("; weights fp32, the FFF's are ",
                      graph::Name(config.precision));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Model>> BuildGraph(
    const graph::Graph& graph, const BuildOptions& options) {
  return BuildModel(ModelConfig(), graph, options);
}

absl::StatusOr<std::shared_ptr<const Model>> BuildModel(
    const ModelConfig& config, const graph::Graph& graph,
    const BuildOptions& options) {
  FFF_ASSIGN_OR_RETURN(graph::Graph served,
                       graph::Reduce(graph, config.precision));
  return Build(
      std::move(served), graph,
      {options.tuning_seconds, config.engine == importer::EngineChoice::kAuto,
       options.memo, options.progress},
      options.placement);
}

absl::StatusOr<DenseTwin> BuildCostTwin(const ModelConfig& config,
                                        const graph::Graph& graph,
                                        const BuildOptions& options) {
  FFF_ASSIGN_OR_RETURN(const graph::Graph dense, graph::Densify(graph));
  DenseTwin twin;
  FFF_ASSIGN_OR_RETURN(twin.model, BuildGraph(dense, options));
  twin.description = absl::StrCat(CostDescription(graph::NeuronsOf(graph)),
                                  PrecisionNote(config));
  return twin;
}

absl::StatusOr<DenseTwin> BuildTrainedTwin(
    const ModelConfig& config, const checkpoint::Checkpoint& dense_checkpoint,
    const graph::Graph& fff, const BuildOptions& options) {
  DenseTwin twin;
  FFF_ASSIGN_OR_RETURN(
      const graph::Graph dense,
      importer::ImportDense(config, dense_checkpoint, fff, &twin.assumed));
  FFF_ASSIGN_OR_RETURN(twin.model, BuildGraph(dense, options));
  twin.trained = true;
  const std::string& source = dense_checkpoint.source();
  twin.description = absl::StrCat("trained dense network from ",
                                  source.substr(source.rfind('/') + 1), ": ",
                                  NetworkOf(dense), PrecisionNote(config));
  return twin;
}

}  // namespace fff::model
