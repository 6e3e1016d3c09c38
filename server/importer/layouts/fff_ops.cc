#include "server/importer/layouts/fff_ops.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/graph/graph.h"

namespace fff::importer {
namespace {

using graph::GraphBuilder;
using graph::ValueId;

// Adds ops to the layer at hand, and to one more of its name for each op that
// routes after the first.
class BranchAdder {
 public:
  explicit BranchAdder(GraphBuilder& builder) : builder_(builder) {}

  absl::StatusOr<ValueId> Add(const graph::Op& op, ValueId in) {
    if (graph::RoutingOf(op).trees > 0) {
      if (routed_) BeginLayer(in);
      routed_ = true;
    }
    FFF_ASSIGN_OR_RETURN(last_, builder_.Add(op, in));
    return last_;
  }

  absl::StatusOr<ValueId> Add(const Branch& branch, ValueId in) {
    for (const graph::Op& op : branch) {
      FFF_ASSIGN_OR_RETURN(in, Add(op, in));
    }
    return in;
  }

  absl::StatusOr<ValueId> Sum(ValueId a, ValueId b) {
    const int64_t width = builder_.WidthOf(a);
    FFF_ASSIGN_OR_RETURN(
        last_, builder_.Add(graph::Add{{std::make_shared<graph::AddWeights>(
                                graph::AddWeights{{width, width}})}},
                            {a, b}));
    return last_;
  }

 private:
  void BeginLayer(ValueId in) {
    graph::Layer next = builder_.layer();
    builder_.layer().output_width = builder_.WidthOf(last_);
    next.input_width = builder_.WidthOf(in);
    builder_.BeginLayer(std::move(next));
  }

  GraphBuilder& builder_;
  ValueId last_ = 0;
  bool routed_ = false;
};

}  // namespace

absl::StatusOr<graph::Activation> ActivationOf(const LayerConfig& config,
                                               const Convention& convention) {
  if (config.activation.has_value()) return *config.activation;
  if (convention.activation.has_value()) return *convention.activation;
  return absl::InvalidArgumentError(absl::StrCat(
      "convention \"", convention.name, "\" (", convention.source,
      ") takes its activation as an argument, which no tensor tells; set it in "
      "config.json: {\"type\": \"fff\", \"convention\": \"",
      convention.name, "\", \"activation\": \"relu\"}, if it is relu"));
}

LoadedLayer FffLayer(const Convention& convention, int64_t input_width) {
  LoadedLayer loaded;
  loaded.layer.type = "fff";
  loaded.layer.label = std::string(convention.name);
  loaded.input_width = input_width;
  return loaded;
}

LoadedLayer FffOp(const Convention& convention, int64_t input_width,
                  graph::Op op) {
  return FffBranches(convention, input_width, {{std::move(op)}});
}

LoadedLayer FffBranches(const Convention& convention, int64_t input_width,
                        std::vector<Branch> branches) {
  LoadedLayer loaded = FffLayer(convention, input_width);
  loaded.add = [branches = std::move(branches)](
                   GraphBuilder& builder, ValueId in,
                   const LayerContext& /*context*/) -> absl::StatusOr<ValueId> {
    BranchAdder adder(builder);
    FFF_ASSIGN_OR_RETURN(ValueId sum, adder.Add(branches.front(), in));
    for (size_t i = 1; i < branches.size(); ++i) {
      FFF_ASSIGN_OR_RETURN(const ValueId next, adder.Add(branches[i], in));
      FFF_ASSIGN_OR_RETURN(sum, adder.Sum(sum, next));
    }
    return sum;
  };
  return loaded;
}

absl::Status CheckMade(int64_t rows, int64_t width) {
  if (width <= 0 || rows <= kMadeElementsMax / width) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "re-arranged for the kernels its weights would be ", rows, " x ", width,
      " elements, above the maximum of ", kMadeElementsMax));
}

}  // namespace fff::importer
