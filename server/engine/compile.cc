#include "server/engine/compile.h"

#include <algorithm>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"
#include "server/engine/memory_plan.h"

namespace fff::engine {
namespace {

using graph::Graph;
using graph::Node;

// `sink` moved on by `rows` rows.
RouteSink Advance(const RouteSink& sink, const graph::RoutingShape& shape,
                  int64_t rows) {
  RouteSink moved;
  if (sink.leaves != nullptr) moved.leaves = sink.leaves + rows * shape.ways();
  if (sink.margins != nullptr) {
    moved.margins = sink.margins + rows * shape.ways() * shape.decisions;
  }
  return moved;
}

// The same rows as `tokens` times as many.
tensor::TypedRows ByToken(const tensor::TypedRows& rows, int64_t tokens) {
  return {rows.type, rows.data, rows.rows * tokens, rows.width / tokens};
}

class CpuExecutable : public Executable {
 public:
  CpuExecutable(const Graph& graph, std::vector<KernelPlan> plans)
      : memory_(PlanMemory(graph)), layers_(graph.layers().size()) {
    for (size_t i = 0; i < plans.size(); ++i) {
      report_.push_back({plans[i].steps(), plans[i].packed_bytes()});
      const Node& node = graph.nodes()[i];
      steps_.push_back({std::move(plans[i]), node.in, node.out, node.layer,
                        node.tokens, graph::RoutingOf(node)});
    }
    for (size_t i = 0; i < graph.values(); ++i) {
      widths_.push_back(graph.type(static_cast<graph::ValueId>(i)).width());
    }
    for (size_t i = 0; i < graph.outputs().size(); ++i) {
      outputs_.push_back(graph.output_value(i));
    }
  }

  absl::Span<const NodeReport> report() const override { return report_; }

  absl::Status Run(const Batch& batch,
                   ExecutionContext& context) const override {
    FFF_CHECK(batch.outputs.size() == outputs_.size());
    FFF_CHECK(batch.routes.empty() || batch.routes.size() == layers_);
    const int64_t rows = batch.rows();
    const int64_t block =
        RowsPerBlock(rows, memory_.floats_per_row(), memory_.tokens);
    for (int64_t first = 0; first < rows; first += block) {
      RunBlock(batch, first, std::min(block, rows - first), context);
    }
    return absl::OkStatus();
  }

 private:
  // One node.
  struct Step {
    KernelPlan plan;
    absl::InlinedVector<graph::ValueId, 2> in;
    graph::ValueId out;
    size_t layer;
    int64_t tokens;
    graph::RoutingShape routing;
  };
  // Where values lie in one block of a batch.
  struct Block {
    const Batch& batch;
    int64_t first;
    int64_t rows;
    absl::InlinedVector<float*, 4> slots;
  };

  tensor::TypedRows ValueIn(const Block& block, graph::ValueId value) const {
    const Place& place = memory_.places[static_cast<size_t>(value)];
    if (place.where == Place::Where::kInput) {
      return block.batch.inputs[place.index].Slice(block.first, block.rows);
    }
    const tensor::MutableRows rows = RowsIn(block, value);
    return tensor::ConstRows{rows.data, rows.rows, rows.width};
  }

  tensor::MutableRows RowsIn(const Block& block, graph::ValueId value) const {
    const Place& place = memory_.places[static_cast<size_t>(value)];
    FFF_DCHECK(place.where != Place::Where::kInput);
    float* const data = place.where == Place::Where::kOutput
                            ? block.batch.outputs[place.index].row(block.first)
                            : block.slots[place.index];
    return {data, block.rows, widths_[static_cast<size_t>(value)]};
  }

  void RunBlock(const Batch& batch, int64_t first, int64_t rows,
                ExecutionContext& context) const {
    ScratchScope scratch(context.workspace(0));
    Block block = {batch, first, rows, {}};
    for (const int64_t width : memory_.slot_widths) {
      block.slots.push_back(scratch.Floats(rows * width));
    }
    for (const Step& step : steps_) {
      absl::InlinedVector<tensor::TypedRows, 2> in;
      for (const graph::ValueId value : step.in) {
        in.push_back(ByToken(ValueIn(block, value), step.tokens));
      }
      RouteSink sink;
      if (!batch.routes.empty() && step.routing.trees > 0) {
        sink = Advance(batch.routes[step.layer], step.routing, first);
      }
      const tensor::MutableRows out = RowsIn(block, step.out);
      step.plan.RunOn(
          in, {out.data, out.rows * step.tokens, out.width / step.tokens}, sink,
          context);
    }
    CopyPassedBy(block);
  }

  // Outputs that lie elsewhere: an input that no node changes, or a value that
  // is an output twice.
  void CopyPassedBy(const Block& block) const {
    for (size_t i = 0; i < outputs_.size(); ++i) {
      const Place& place = memory_.places[static_cast<size_t>(outputs_[i])];
      if (place.where == Place::Where::kOutput && place.index == i) continue;
      const tensor::ConstRows from = ValueIn(block, outputs_[i]).floats();
      std::copy_n(from.data, from.rows * from.width,
                  block.batch.outputs[i].row(block.first));
    }
  }

  MemoryPlan memory_;
  size_t layers_;
  std::vector<Step> steps_;
  std::vector<NodeReport> report_;
  std::vector<int64_t> widths_;  // by value
  std::vector<graph::ValueId> outputs_;
};

// Whether the node at `index` may choose its kernel by measurement: kernels
// with sums of an order of their own could turn a decision of an FFF op behind
// them.
bool ChoiceMovesNoRoute(const Graph& graph, size_t index) {
  return !ChoiceOf(graph.nodes()[index].op).moves_sums ||
         !graph.RoutesBehind(index);
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Executable>> Compile(
    const Graph& graph, const CompileOptions& options) {
  const auto choices = std::count_if(
      graph.nodes().begin(), graph.nodes().end(),
      [](const Node& node) { return ChoiceOf(node.op).kernels > 1; });
  std::vector<KernelPlan> plans;
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    PlanOptions plan;
    plan.dense_allowed = options.dense_allowed;
    // An even share of the time for each node that chooses.
    if (ChoiceMovesNoRoute(graph, i)) {
      plan.tuning_seconds = options.tuning_seconds /
                            static_cast<double>(std::max<long>(choices, 1));
    }
    auto made = PlanOp(node.op, plan);
    if (!made.ok()) {
      return base::Annotate(made.status(),
                            absl::StrCat("layers[", node.layer, "] (",
                                         graph::NameOf(node.op), ")"));
    }
    plans.push_back(*std::move(made));
  }
  return std::make_unique<const CpuExecutable>(graph, std::move(plans));
}

}  // namespace fff::engine
