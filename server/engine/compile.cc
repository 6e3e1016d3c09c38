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
      : memory_(PlanMemory(graph)),
        sequences_(graph.sequences()),
        layers_(graph.layers().size()) {
    for (size_t i = 0; i < plans.size(); ++i) {
      report_.push_back({plans[i].steps(), plans[i].packed_bytes()});
      const Node& node = graph.nodes()[i];
      steps_.push_back({std::move(plans[i]), node.in, node.out, node.layer,
                        node.tokens, graph::RoutingOf(node)});
    }
    for (size_t i = 0; i < graph.values(); ++i) {
      const graph::ValueType& type = graph.type(static_cast<graph::ValueId>(i));
      values_.push_back({type.width(), type.per_token()});
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
    FFF_CHECK(batch.inputs.sequences().empty() != sequences_);
    const Extent all = batch.extent();
    // Of sequences, a block holds whole ones, of about as many tokens.
    const int64_t block =
        RowsPerBlock(all.tokens, memory_.floats_per_row(), memory_.tokens);
    for (Cut cut; cut.first.rows < all.rows;) {
      cut.size = NextBlock(batch.inputs.sequences(), all, cut.first, block);
      RunBlock(batch, cut, context);
      cut.first.rows += cut.size.rows;
      cut.first.tokens += cut.size.tokens;
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
  struct Value {
    int64_t width;
    bool per_token;
  };
  // A part of a batch.
  struct Cut {
    Extent first;
    Extent size;
  };
  // Where values lie in one block of a batch.
  struct Block {
    const Batch& batch;
    const Cut& cut;
    absl::InlinedVector<float*, 4> slots;
  };

  // How much the block that begins at `first` holds, of at most `block` tokens,
  // or one row.
  static Extent NextBlock(const Sequences& sequences, const Extent& all,
                          const Extent& first, int64_t block) {
    if (sequences.empty()) {
      const int64_t rows = std::min(block, all.rows - first.rows);
      return {rows, rows};
    }
    int64_t end = first.rows + 1;
    while (end < all.rows && sequences.Begin(end + 1) - first.tokens <= block) {
      ++end;
    }
    return {end - first.rows, sequences.Begin(end) - first.tokens};
  }

  tensor::TypedRows ValueIn(const Block& block, graph::ValueId value) const {
    const Place& place = memory_.places[static_cast<size_t>(value)];
    if (place.where == Place::Where::kInput) {
      const bool per_token = values_[static_cast<size_t>(value)].per_token;
      return block.batch.inputs[place.index].Slice(
          block.cut.first.Of(per_token), block.cut.size.Of(per_token));
    }
    const tensor::MutableRows rows = RowsIn(block, value);
    return tensor::ConstRows{rows.data, rows.rows, rows.width};
  }

  tensor::MutableRows RowsIn(const Block& block, graph::ValueId value) const {
    const Place& place = memory_.places[static_cast<size_t>(value)];
    FFF_DCHECK(place.where != Place::Where::kInput);
    const Value& stored = values_[static_cast<size_t>(value)];
    float* const data = place.where == Place::Where::kOutput
                            ? block.batch.outputs[place.index].row(
                                  block.cut.first.Of(stored.per_token))
                            : block.slots[place.index];
    return {data, block.cut.size.Of(stored.per_token), stored.width};
  }

  void RunBlock(const Batch& batch, const Cut& cut,
                ExecutionContext& context) const {
    ScratchScope scratch(context.workspace(0));
    Block block = {batch, cut, {}};
    // A value per row has no more of them than one per token.
    for (const int64_t width : memory_.slot_widths) {
      block.slots.push_back(scratch.Floats(cut.size.tokens * width));
    }
    Sequences sequences = batch.inputs.sequences();
    if (sequences_) sequences = sequences.Slice(cut.first.rows, cut.size.rows);
    for (size_t i = 0; i < steps_.size(); ++i) {
      const Step& step = steps_[i];
      absl::InlinedVector<tensor::TypedRows, 2> in;
      for (const graph::ValueId value : step.in) {
        in.push_back(ByToken(ValueIn(block, value), step.tokens));
      }
      RouteSink sink;
      if (!batch.routes.empty() && step.routing.trees > 0) {
        sink = Advance(batch.routes[step.layer], step.routing,
                       cut.first.Of(step.routing.per_token));
      }
      const tensor::MutableRows out = RowsIn(block, step.out);
      step.plan.RunOn(
          KernelInputs(in, sequences),
          {out.data, out.rows * step.tokens, out.width / step.tokens}, sink,
          context);
      if (batch.observer != nullptr) (*batch.observer)(i, out);
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
                  block.batch.outputs[i].row(block.cut.first.Of(
                      values_[static_cast<size_t>(outputs_[i])].per_token)));
    }
  }

  MemoryPlan memory_;
  bool sequences_;  // rows are sequences of any length
  size_t layers_;
  std::vector<Step> steps_;
  std::vector<NodeReport> report_;
  std::vector<Value> values_;
  std::vector<graph::ValueId> outputs_;
};

// Whether the node at `index` may have any kernel for any batch size, by
// measurement: with sums of an order of its own, one could turn a decision of
// an FFF op behind it.
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
    } else {
      plan.same_in_every_batch = true;
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
