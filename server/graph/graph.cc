#include "server/graph/graph.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"

namespace fff::graph {
namespace {

std::string Named(ValueId value) { return absl::StrCat("%", value); }

void AppendValue(std::string* out, ValueId value) {
  absl::StrAppend(out, Named(value));
}

}  // namespace

RoutingShape RoutingOf(const Node& node) {
  RoutingShape shape = RoutingOf(node.op);
  shape.tokens = node.tokens;
  shape.per_token = node.per_token;
  return shape;
}

ValueType Port::type() const {
  const bool integers = data_type == tensor::DataType::kI32 ||
                        data_type == tensor::DataType::kI64;
  ValueType type = ValueType::Rows(shape);
  if (sequence) type.dims[0].kind = Dim::Kind::kTokens;
  if (!integers) return type;
  type.data_type = tensor::DataType::kI32;
  // An embedding is applied to each number.
  if (role == Role::kData) type.dims.push_back({Dim::Kind::kFixed, 1});
  return type;
}

bool Graph::sequences() const {
  return std::any_of(inputs_.begin(), inputs_.end(),
                     [](const Port& port) { return port.sequence; });
}

Cost Graph::CostOf(const Node& node) const {
  Cost cost = Visit(node.op, [](const auto& op) { return op.cost(); });
  const auto times = static_cast<double>(
      node.tokens *
      (node.per_token ? std::min(kNominalTokens, tokens_max_) : 1));
  cost.flops *= times;
  // The tokens of one row take ways of their own.
  if (Routes(node.op)) cost.weight_bytes *= times;
  return cost;
}

int64_t Port::width() const {
  const auto elements = tensor::NumElements(shape);
  return elements.ok() ? *elements : 0;
}

std::vector<const Node*> Graph::NodesOf(size_t layer) const {
  std::vector<const Node*> found;
  for (const Node& node : nodes_) {
    if (node.layer == layer) found.push_back(&node);
  }
  return found;
}

std::string Graph::DescribeLayer(size_t layer) const {
  const Layer& described = layers_[layer];
  if (!described.text.empty()) return described.text;
  std::vector<std::string> lines;
  for (const Node* node : NodesOf(layer)) {
    lines.push_back(
        Visit(node->op, [](const auto& op) { return op.Describe(); }));
    if (!described.note.empty()) break;  // which says the rest
  }
  return absl::StrCat(described.label, described.label.empty() ? "" : ": ",
                      absl::StrJoin(lines, "; "), described.note);
}

bool Graph::RoutesBehind(size_t index) const {
  return std::any_of(nodes_.begin() + static_cast<std::ptrdiff_t>(index) + 1,
                     nodes_.end(),
                     [](const Node& node) { return Routes(node.op); });
}

Cost Graph::cost() const {
  Cost sum;
  for (const Node& node : nodes_) {
    const Cost cost = CostOf(node);
    sum.flops += cost.flops;
    sum.weight_bytes += cost.weight_bytes;
  }
  return sum;
}

const Node* Graph::ProducerOf(ValueId value) const {
  const auto index = static_cast<size_t>(value);
  return index < inputs_.size() ? nullptr : &nodes_[index - inputs_.size()];
}

int Graph::UsesOf(ValueId value) const {
  auto uses = std::count(output_values_.begin(), output_values_.end(), value);
  for (const Node& node : nodes_) {
    uses += std::count(node.in.begin(), node.in.end(), value);
  }
  return static_cast<int>(uses);
}

Graph Graph::WithoutLabels() const {
  Graph bare = *this;
  for (Port& port : bare.outputs_) port.labels.clear();
  return bare;
}

std::string Graph::Print() const {
  std::string text;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    absl::StrAppend(&text, "%", i, " = input \"", inputs_[i].name,
                    "\": ", types_[i].ToString(), "\n");
  }
  for (const Node& node : nodes_) {
    absl::StrAppend(
        &text, Named(node.out), " = ", NameOf(node.op), "(",
        absl::StrJoin(node.in, ", ", AppendValue), ") ",
        Visit(node.op, [](const auto& op) { return op.Describe(); }), ": ",
        type(node.out).ToString(), "\n");
  }
  for (size_t i = 0; i < outputs_.size(); ++i) {
    absl::StrAppend(&text, "output \"", outputs_[i].name,
                    "\" = ", Named(output_values_[i]), "\n");
  }
  return text;
}

ValueId GraphBuilder::AddInput(Port port) {
  FFF_CHECK(graph_.nodes_.empty());
  graph_.types_.push_back(port.type());
  graph_.inputs_.push_back(std::move(port));
  return static_cast<ValueId>(graph_.types_.size()) - 1;
}

void GraphBuilder::Flatten(ValueId value) {
  ValueType& type = graph_.types_[static_cast<size_t>(value)];
  FFF_CHECK(!type.per_token());
  type = ValueType::Rows(type.width());
}

void GraphBuilder::Restore(ValueId value, ValueType type) {
  FFF_CHECK(WidthOf(value) == type.width());
  graph_.types_[static_cast<size_t>(value)] = std::move(type);
}

void GraphBuilder::BeginLayer(Layer layer) {
  graph_.layers_.push_back(std::move(layer));
}

absl::StatusOr<ValueId> GraphBuilder::Add(Op op, absl::Span<const ValueId> in) {
  absl::InlinedVector<ValueType, 2> types;
  for (const ValueId value : in) types.push_back(graph_.type(value));
  FFF_ASSIGN_OR_RETURN(ValueType out, Infer(op, types));
  const auto* const embedding = std::get_if<Embedding>(&op);
  if (embedding != nullptr) {
    FFF_RETURN_IF_ERROR(LimitInput(in[0], embedding->problem().count));
  }
  const int64_t tokens = TokensOf(types[0], InputWidthOf(op));
  const auto value = static_cast<ValueId>(graph_.types_.size());
  graph_.types_.push_back(std::move(out));
  graph_.tokens_max_ = std::min(graph_.tokens_max_, TokensMaxOf(op));
  graph_.nodes_.push_back({std::move(op),
                           {in.begin(), in.end()},
                           value,
                           graph_.layers_.size() - 1,
                           tokens,
                           types[0].per_token()});
  return value;
}

absl::Status GraphBuilder::LimitInput(ValueId value, int64_t limit) {
  const auto index = static_cast<size_t>(value);
  FFF_CHECK(index < graph_.inputs_.size());  // no op makes numbers
  Port& port = graph_.inputs_[index];
  if (port.role == Port::Role::kMask) {  // may be absent
    return absl::InvalidArgumentError(absl::StrCat(
        "got the mask \"", port.name, "\", wanted an input of numbers"));
  }
  port.limit = port.limit == 0 ? limit : std::min(port.limit, limit);
  return absl::OkStatus();
}

absl::StatusOr<ValueId> GraphBuilder::AddChain(std::vector<Op> ops,
                                               ValueId in) {
  for (Op& op : ops) {
    FFF_ASSIGN_OR_RETURN(in, Add(std::move(op), in));
  }
  return in;
}

absl::Status GraphBuilder::AddOutput(Port port, ValueId value) {
  const int64_t width = WidthOf(value);
  if (TypeOf(value).data_type != tensor::DataType::kF32) {
    return absl::InvalidArgumentError(absl::StrCat(
        "output: found ", TypeOf(value).ToString(), ", wanted F32"));
  }
  if (port.name.empty()) port.name = "output";
  if (std::any_of(graph_.outputs_.begin(), graph_.outputs_.end(),
                  [&](const Port& other) { return other.name == port.name; })) {
    return absl::InvalidArgumentError(
        absl::StrCat("output.name: found \"", port.name,
                     "\" a second time, wanted a name of its own"));
  }
  port.sequence = TypeOf(value).per_token();
  if (port.shape.empty()) port.shape = TypeOf(value).shape();
  if (port.width() != width) {
    return absl::InvalidArgumentError(
        absl::StrCat("output.shape: found ", tensor::ToString(port.shape),
                     ", whose product is ", port.width(),
                     ", but the layers have width ", width));
  }
  const auto labels = static_cast<int64_t>(port.labels.size());
  if (labels != 0 && labels != width) {
    return absl::InvalidArgumentError(absl::StrCat("output.labels: found ",
                                                   labels, " labels, wanted ",
                                                   width, ", one per output"));
  }
  graph_.outputs_.push_back(std::move(port));
  graph_.output_values_.push_back(value);
  return absl::OkStatus();
}

size_t GraphBuilder::FindTail() const {
  const std::vector<Node>& nodes = graph_.nodes_;
  size_t tail = nodes.size();
  if (graph_.outputs_.size() != 1 || !graph_.outputs_[0].sequence) return tail;
  ValueId value = graph_.output_values_[0];
  for (size_t i = nodes.size(); i-- > 0;) {
    const Node& node = nodes[i];
    const bool alone = node.out == value && graph_.UsesOf(value) == 1 &&
                       node.in.size() == 1 && node.per_token;
    const bool spans =
        Visit(node.op, [](const auto& op) { return op.spans_sequences(); });
    const Node* const before = graph_.ProducerOf(node.in[0]);
    if (!alone || spans || Routes(node.op) || before == nullptr) break;
    // What it reads is kept for all tokens, so it may not be overwritten.
    if (!MayOverwrite(node.op)) tail = i;
    value = node.in[0];
  }
  // Only the node at the tail's end may read what comes before it.
  if (tail < nodes.size() && graph_.UsesOf(nodes[tail].in[0]) > 1) {
    return nodes.size();
  }
  return tail;
}

bool GraphBuilder::AcceptPositions(std::string name) {
  if (FindTail() == graph_.nodes_.size()) return false;
  Port port;
  port.name = std::move(name);
  port.data_type = tensor::DataType::kI64;
  port.sequence = true;
  port.role = Port::Role::kPositions;
  port.optional = true;
  graph_.positions_ = std::move(port);
  return true;
}

Graph GraphBuilder::Build() && {
  graph_.tail_ = FindTail();
  if (graph_.positions_.has_value()) {
    graph_.positions_->limit = graph_.tokens_max_;
  }
  return std::move(graph_);
}

namespace {

// Makes the rewritten graph, layer by layer.
class Rewriter {
 public:
  Rewriter(const Graph& graph, const RewriteOp& rewrite)
      : graph_(graph), rewrite_(rewrite), now_(graph.values()) {}

  absl::StatusOr<Graph> Run() {
    for (size_t i = 0; i < graph_.inputs().size(); ++i) {
      now_[i] = builder_.AddInput(graph_.inputs()[i]);
    }
    builder_.LimitTokens(graph_.tokens_max());
    for (size_t i = 0; i < graph_.layers().size(); ++i) {
      FFF_RETURN_IF_ERROR(base::Annotate(
          AddLayer(i),
          absl::StrCat("layers[", i, "] (", graph_.layers()[i].type, ")")));
    }
    for (size_t i = 0; i < graph_.outputs().size(); ++i) {
      FFF_RETURN_IF_ERROR(
          builder_.AddOutput(graph_.outputs()[i], Now(graph_.output_value(i))));
    }
    if (graph_.positions() != nullptr) {
      builder_.AcceptPositions(graph_.positions()->name);
    }
    return std::move(builder_).Build();
  }

 private:
  ValueId& Now(ValueId value) { return now_[static_cast<size_t>(value)]; }

  absl::Status AddLayer(size_t index) {
    const std::vector<const Node*> nodes = graph_.NodesOf(index);
    std::vector<std::vector<Op>> ops;
    bool op_by_op = false;
    for (const Node* node : nodes) {
      FFF_ASSIGN_OR_RETURN(std::vector<Op> rewritten, rewrite_(*node));
      op_by_op |= rewritten.size() > 1;
      ops.push_back(std::move(rewritten));
    }
    if (!op_by_op) builder_.BeginLayer(graph_.layers()[index]);
    for (size_t i = 0; i < nodes.size(); ++i) {
      FFF_RETURN_IF_ERROR(AddOps(*nodes[i], std::move(ops[i]), op_by_op));
    }
    return absl::OkStatus();
  }

  absl::Status AddOps(const Node& node, std::vector<Op> ops, bool op_by_op) {
    std::vector<ValueId> in;
    for (const ValueId value : node.in) in.push_back(Now(value));
    in.resize(ops.empty() ? 1 : std::min(in.size(), InputsOf(ops.front())));
    for (Op& op : ops) {
      if (op_by_op) builder_.BeginLayer({std::string(NameOf(op))});
      const int64_t input_width = builder_.WidthOf(in.front());
      FFF_ASSIGN_OR_RETURN(const ValueId out, builder_.Add(std::move(op), in));
      if (op_by_op) {
        builder_.layer().input_width = input_width;
        builder_.layer().output_width = builder_.WidthOf(out);
      }
      in = {out};
    }
    Now(node.out) = in.front();
    return absl::OkStatus();
  }

  const Graph& graph_;
  const RewriteOp& rewrite_;
  std::vector<ValueId> now_;  // a value's number in the result
  GraphBuilder builder_;
};

}  // namespace

absl::StatusOr<Graph> Rewrite(const Graph& graph, const RewriteOp& rewrite) {
  return Rewriter(graph, rewrite).Run();
}

}  // namespace fff::graph
