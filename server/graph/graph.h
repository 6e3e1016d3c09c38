#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/graph/op.h"
#include "server/tensor/shape.h"

namespace fff::graph {

// A value: an input of the graph or the output of one node. Numbered from 0 in
// the order of their definition.
using ValueId = int32_t;

// A named tensor at the network's edge; rows come before `shape`.
struct Port {
  // kMask: 1 for tokens that count, 0 for those that do not. kPositions: which
  // tokens' outputs are wanted, by place in their row, as many per row as the
  // request likes.
  enum class Role : uint8_t { kData, kMask, kPositions };

  std::string name;
  // As clients send it. kI64 and kI32 are int32 inside, kU8 is float.
  tensor::DataType data_type = tensor::DataType::kF32;
  tensor::Shape shape;                   // of one row, or of one token
  std::vector<std::string> labels = {};  // outputs: one per column, or empty
  // Rows are sequences of any length: the wire's shape is [rows, sequence,
  // shape]. All such ports of a network have the same length.
  bool sequence = false;
  Role role = Role::kData;
  bool optional = false;  // of a mask: 1 everywhere where it is absent
  int64_t limit = 0;      // integers are below it, and not negative; 0: any

  int64_t width() const;   // product of shape
  ValueType type() const;  // inside
};

struct Node {
  Op op;
  absl::InlinedVector<ValueId, 2> in;
  ValueId out = 0;
  size_t layer = 0;  // index into Graph::layers()
  // How often the op is applied to one row: 1, or once per token of it. The
  // node then sees its inputs as `tokens` times as many rows.
  int64_t tokens = 1;
  // Its first input has a row for each token of sequences of any length.
  bool per_token = false;
};

RoutingShape RoutingOf(const Node& node);

// One entry of config.json's "layers", for people and for reports: a name for
// the nodes that compute it. A layer that leaves rows as they are has none.
struct Layer {
  std::string type = {};   // "fff", "linear", ...
  std::string label = {};  // what stands before the description: a convention
  std::string note = {};   // what stands behind it
  std::string text = {};   // instead of all that, where no op says it
  int64_t input_width = 0;
  int64_t output_width = 0;
};

// A checked network: nodes in an order in which each value is defined before it
// is used. Immutable; copies share the weights. Thread-safe.
class Graph {
 public:
  absl::Span<const Node> nodes() const { return nodes_; }
  absl::Span<const Layer> layers() const { return layers_; }
  absl::Span<const Port> inputs() const { return inputs_; }
  absl::Span<const Port> outputs() const { return outputs_; }
  // The value of input `i` is `i`; that of output `i`:
  ValueId output_value(size_t i) const { return output_values_[i]; }
  const ValueType& type(ValueId value) const {
    return types_[static_cast<size_t>(value)];
  }
  size_t values() const { return types_.size(); }
  // Whether rows are sequences of any length, and of how many tokens at most.
  bool sequences() const;
  int64_t tokens_max() const { return tokens_max_; }
  // Where rows are sequences of any length and the only output has a row per
  // token: the first node behind all that decide or see several tokens. It and
  // those behind it are a chain, which may be computed for some tokens alone.
  // Else, or without such nodes, nodes().size().
  size_t tail() const { return tail_; }
  // How a request names these tokens; it is none of inputs(), for no node reads
  // it. Null where the outputs are for all tokens always.
  const Port* positions() const {
    return positions_.has_value() ? &*positions_ : nullptr;
  }

  // "sap-fff: 6 -> 4, ...": what a layer is, for people.
  std::string DescribeLayer(size_t layer) const;
  // The nodes of one layer, in order.
  std::vector<const Node*> NodesOf(size_t layer) const;
  // True when the node at `index` stands before one that routes, so that a
  // change of its last bits could turn a decision.
  bool RoutesBehind(size_t index) const;
  // Of one row: that of the op for every token, of sequences of any length
  // for kNominalTokens.
  Cost CostOf(const Node& node) const;
  Cost cost() const;  // sum over the nodes
  // The node whose output `value` is; null for an input of the graph.
  const Node* ProducerOf(ValueId value) const;
  // How many nodes and outputs of the graph use `value`.
  int UsesOf(ValueId value) const;
  Graph WithoutLabels() const;

  // One line per value: "%1 = linear(%0) 784 -> 10: F32 [rows, 10]". For logs
  // and tests.
  std::string Print() const;

 private:
  friend class GraphBuilder;
  std::vector<Node> nodes_;
  std::vector<Layer> layers_;
  std::vector<Port> inputs_;
  std::vector<Port> outputs_;
  std::vector<ValueId> output_values_;
  std::vector<ValueType> types_;  // by value
  int64_t tokens_max_ = kTokensMax;
  size_t tail_ = 0;
  std::optional<Port> positions_;
};

// Makes a graph node by node. Owned by one thread.
class GraphBuilder {
 public:
  // All inputs come before the first node.
  ValueId AddInput(Port port);
  // Nodes that follow belong to this layer.
  void BeginLayer(Layer layer);
  // The layer begun last.
  Layer& layer() { return graph_.layers_.back(); }
  // The node's output. INVALID_ARGUMENT (got, wanted) when the inputs' types do
  // not fit the op.
  absl::StatusOr<ValueId> Add(Op op, absl::Span<const ValueId> in);
  absl::StatusOr<ValueId> Add(Op op, ValueId in) {
    return Add(std::move(op), absl::MakeConstSpan(&in, 1));
  }
  // Several ops, each on the output of the one before.
  absl::StatusOr<ValueId> AddChain(std::vector<Op> ops, ValueId in);
  const ValueType& TypeOf(ValueId value) const { return graph_.type(value); }
  int64_t WidthOf(ValueId value) const { return TypeOf(value).width(); }
  // No sequence may have more tokens than that.
  void LimitTokens(int64_t tokens_max) {
    graph_.tokens_max_ = std::min(graph_.tokens_max_, tokens_max);
  }
  // From here on `value`, of one length, is one flat row: no op is applied to
  // parts of it.
  void Flatten(ValueId value);
  // `value` has the type again that it had before Flatten: for what else reads
  // it.
  void Restore(ValueId value, ValueType type);
  // The first output is the main one. INVALID_ARGUMENT (key "output", found,
  // wanted) when shape or labels do not fit the value, or the name is that of
  // another; an empty name is "output", an empty shape the value's.
  absl::Status AddOutput(Port port, ValueId value);
  // Requests may name the tokens whose outputs they want, under the port's
  // name. After all nodes and outputs; false, and nothing done, where the graph
  // has no tail.
  bool AcceptPositions(std::string name);
  Graph Build() &&;

 private:
  size_t FindTail() const;
  absl::Status LimitInput(ValueId value, int64_t limit);

  Graph graph_;
};

// The same graph with every node's op replaced: `rewrite` returns the ops that
// stand for it, each on the output of the one before; the first takes as many
// of the node's inputs as it has. No op means that the node's first input
// passes by. Ports, order and layers stay, but for a layer in which a node
// becomes several ops: it is listed op by op. INVALID_ARGUMENT, with the layer,
// when types no longer fit.
using RewriteOp = std::function<absl::StatusOr<std::vector<Op>>(const Node&)>;
absl::StatusOr<Graph> Rewrite(const Graph& graph, const RewriteOp& rewrite);

}  // namespace fff::graph
