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
        tail_(graph.tail()),
        layers_(graph.layers().size()) {
    for (size_t i = 0; i < plans.size(); ++i) {
      report_.push_back(
          {plans[i].steps(), plans[i].packed(), plans[i].reads_plain_rows()});
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
    FFF_CHECK(batch.outputs.size() == outputs_.size() ||
              (batch.sink != nullptr && outputs_.size() == 1));
    FFF_CHECK(batch.routes.empty() || batch.routes.size() == layers_);
    FFF_CHECK(batch.inputs.sequences().empty() != sequences_);
    if (!batch.in_parts()) {
      RunBlocks(batch, nullptr, context);
    } else if (tail_ < steps_.size()) {
      RunTailApart(batch, context);
    } else {
      FFF_CHECK(batch.selected.empty());
      RunBlocks(batch, nullptr, context);
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
    Cut cut;
    absl::InlinedVector<float*, 4> slots = {};
    // Instead of the batch's first output, the block's own rows.
    float* y = nullptr;
    // Of the tail's input: room for that of the whole batch, or the block's.
    float* hidden = nullptr;
    const float* gathered = nullptr;
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

  // How many rows of a width an output's block has, so that it holds a few MB.
  static int64_t RowsPerOutputBlock(int64_t rows, int64_t width) {
    constexpr int64_t kFloats = int64_t{4} << 20;
    return std::clamp<int64_t>(kFloats / width, 1, std::max<int64_t>(rows, 1));
  }

  // Of steps [0, tail_) where `hidden` has room for what these make, else of
  // all.
  void RunBlocks(const Batch& batch, float* hidden,
                 ExecutionContext& context) const {
    const Extent all = batch.extent();
    // Of sequences, a block holds whole ones, of about as many tokens.
    int64_t size =
        RowsPerBlock(all.tokens, memory_.floats_per_row(), memory_.tokens);
    const bool to_sink = batch.sink != nullptr && hidden == nullptr;
    const Value& output = values_[static_cast<size_t>(outputs_[0])];
    if (to_sink) {
      size = std::min(size, RowsPerOutputBlock(size, output.width));
    }
    for (Cut cut; cut.first.rows < all.rows;) {
      cut.size = NextBlock(batch.inputs.sequences(), all, cut.first, size);
      ScratchScope scratch(context.workspace(0));
      Block block = {batch, cut};
      block.hidden = hidden;
      if (to_sink) {
        block.y = scratch.Floats(cut.size.Of(output.per_token) * output.width);
      }
      Sequences sequences = batch.inputs.sequences();
      if (sequences_) {
        sequences = sequences.Slice(cut.first.rows, cut.size.rows);
      }
      TakeSlots(scratch, block);
      RunSteps(block, sequences, {0, hidden != nullptr ? tail_ : steps_.size()},
               context);
      if (hidden == nullptr) CopyPassedBy(block);
      if (to_sink) {
        (*batch.sink)(cut.first.Of(output.per_token),
                      {block.y, cut.size.Of(output.per_token), output.width});
      }
      cut.first.rows += cut.size.rows;
      cut.first.tokens += cut.size.tokens;
    }
  }

  // What comes before the tail for all tokens, then the tail for those that are
  // selected.
  void RunTailApart(const Batch& batch, ExecutionContext& context) const {
    ScratchScope scope(context.workspace(0));
    const int64_t width =
        values_[static_cast<size_t>(steps_[tail_].in[0])].width;
    float* const hidden = scope.Floats(batch.extent().tokens * width);
    RunBlocks(batch, hidden, context);
    const bool all = batch.selected.empty();
    const int64_t rows = all ? batch.extent().tokens
                             : static_cast<int64_t>(batch.selected.size());
    const int64_t output_width =
        values_[static_cast<size_t>(outputs_[0])].width;
    const int64_t size = RowsPerOutputBlock(rows, output_width);
    for (int64_t first = 0; first < rows; first += size) {
      ScratchScope scratch(context.workspace(0));
      const int64_t count = std::min(size, rows - first);
      Block block = {batch, {{}, count}};
      block.gathered = hidden + first * width;
      if (!all) {
        float* const to = scratch.Floats(count * width);
        for (int64_t i = 0; i < count; ++i) {
          const int64_t token = batch.selected[static_cast<size_t>(first + i)];
          std::copy_n(hidden + token * width, width, to + i * width);
        }
        block.gathered = to;
      }
      block.y = batch.sink != nullptr ? scratch.Floats(count * output_width)
                                      : batch.outputs[0].row(first);
      TakeSlots(scratch, block);
      RunSteps(block, {}, {tail_, steps_.size()}, context);
      if (batch.sink != nullptr) {
        (*batch.sink)(first, {block.y, count, output_width});
      }
    }
  }

  tensor::TypedRows ValueIn(const Block& block, graph::ValueId value) const {
    if (block.gathered != nullptr && value == steps_[tail_].in[0]) {
      return tensor::ConstRows{block.gathered, block.cut.size.tokens,
                               values_[static_cast<size_t>(value)].width};
    }
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
    const Value& stored = values_[static_cast<size_t>(value)];
    const int64_t first = block.cut.first.Of(stored.per_token);
    const int64_t rows = block.cut.size.Of(stored.per_token);
    if (block.hidden != nullptr && value == steps_[tail_].in[0]) {
      return {block.hidden + first * stored.width, rows, stored.width};
    }
    const Place& place = memory_.places[static_cast<size_t>(value)];
    FFF_DCHECK(place.where != Place::Where::kInput);
    if (place.where == Place::Where::kArena) {
      return {block.slots[place.index], rows, stored.width};
    }
    return {OutputIn(block, place.index, first), rows, stored.width};
  }

  // Where the block's rows of an output go, whose first is `first`.
  static float* OutputIn(const Block& block, size_t output, int64_t first) {
    return block.y != nullptr && output == 0
               ? block.y
               : block.batch.outputs[output].row(first);
  }

  void TakeSlots(ScratchScope& scratch, Block& block) const {
    // A value per row has no more of them than one per token.
    for (const int64_t width : memory_.slot_widths) {
      block.slots.push_back(scratch.Floats(block.cut.size.tokens * width));
    }
  }

  // Those of [range.first, range.second).
  void RunSteps(const Block& block, const Sequences& sequences,
                std::pair<size_t, size_t> range,
                ExecutionContext& context) const {
    const Batch& batch = block.batch;
    for (size_t i = range.first; i < range.second; ++i) {
      const Step& step = steps_[i];
      absl::InlinedVector<tensor::TypedRows, 2> in;
      for (const graph::ValueId value : step.in) {
        in.push_back(ByToken(ValueIn(block, value), step.tokens));
      }
      RouteSink sink;
      if (!batch.routes.empty() && step.routing.trees > 0) {
        sink = Advance(batch.routes[step.layer], step.routing,
                       block.cut.first.Of(step.routing.per_token));
      }
      const tensor::MutableRows out = RowsIn(block, step.out);
      step.plan.RunOn(
          KernelInputs(in, sequences),
          {out.data, out.rows * step.tokens, out.width / step.tokens}, sink,
          context);
      if (batch.observer != nullptr) (*batch.observer)(i, out);
    }
  }

  // Outputs that lie elsewhere: an input that no node changes, or a value that
  // is an output twice.
  void CopyPassedBy(const Block& block) const {
    for (size_t i = 0; i < outputs_.size(); ++i) {
      const Place& place = memory_.places[static_cast<size_t>(outputs_[i])];
      if (place.where == Place::Where::kOutput && place.index == i) continue;
      const tensor::ConstRows from = ValueIn(block, outputs_[i]).floats();
      const bool per_token =
          values_[static_cast<size_t>(outputs_[i])].per_token;
      std::copy_n(from.data, from.rows * from.width,
                  OutputIn(block, i, block.cut.first.Of(per_token)));
    }
  }

  MemoryPlan memory_;
  bool sequences_;  // rows are sequences of any length
  size_t tail_;     // graph::Graph::tail()
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

int64_t WeightsBytes(const Node& node) {
  return std::visit([](const auto& op) { return op.weights_bytes(); }, node.op);
}

}  // namespace

int64_t NodeReport::packed_bytes() const {
  int64_t bytes = 0;
  for (const PackedCopy& copy : packed) bytes += copy.bytes;
  return bytes;
}

absl::StatusOr<std::unique_ptr<const Executable>> Compile(
    const Graph& graph, const CompileOptions& options) {
  const auto choices = std::count_if(
      graph.nodes().begin(), graph.nodes().end(),
      [](const Node& node) { return ChoiceOf(node.op).kernels > 1; });
  int64_t bytes = 0;
  for (const Node& node : graph.nodes()) bytes += WeightsBytes(node);
  base::Begin(options.progress, "choosing kernels", bytes);
  std::vector<KernelPlan> plans;
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    PlanOptions plan;
    plan.progress = options.progress;
    plan.memo = options.memo;
    plan.dense_allowed = options.dense_allowed;
    // An even share of the time for each node that chooses.
    if (ChoiceMovesNoRoute(graph, i)) {
      plan.tuning_seconds = options.tuning_seconds /
                            static_cast<double>(std::max<long>(choices, 1));
    } else {
      plan.same_in_every_batch = true;
    }
    auto made = PlanOp(node.op, plan);
    if (absl::IsCancelled(made.status())) return made.status();
    if (!made.ok()) {
      return base::Annotate(made.status(),
                            absl::StrCat("layers[", node.layer, "] (",
                                         graph::NameOf(node.op), ")"));
    }
    plans.push_back(*std::move(made));
    FFF_RETURN_IF_ERROR(base::Advance(options.progress, WeightsBytes(node)));
  }
  return std::make_unique<const CpuExecutable>(graph, std::move(plans));
}

}  // namespace fff::engine
