#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "server/base/check.h"
#include "server/engine/device_engine.h"
#include "server/engine/weights.h"
#include "server/graph/graph.h"

// Layers in sequence, as tests of devices write them down.
namespace fff::engine {

struct ActivationOp {
  Activation activation = Activation::kIdentity;
};
struct LayerNormOp {
  tensor::FloatArray weight;
  tensor::FloatArray bias;
  double epsilon = 0;
  bool centred = true;
};
// y = share * leaf(x) + (1 - share) * output(hidden(x)).
struct MasterLeafOp {
  std::shared_ptr<const LeafWeights> leaf;
  std::shared_ptr<const DenseWeights> hidden;
  std::shared_ptr<const DenseWeights> output;
  float share = 1;
};
using DeviceOp = std::variant<std::shared_ptr<const PathWeights>,
                              std::shared_ptr<const LeafWeights>,
                              std::shared_ptr<const DenseWeights>, MasterLeafOp,
                              ActivationOp, LayerNormOp>;

struct DeviceChain {
  int64_t input_width = 0;
  std::vector<DeviceOp> ops;
};

// Adds the nodes of one op to a graph; a layer each.
struct AddDeviceOp {
  graph::GraphBuilder& builder;
  graph::ValueId in;

  using Added = absl::StatusOr<graph::ValueId>;
  Added operator()(const std::shared_ptr<const PathWeights>& path) const {
    return builder.Add(graph::FffPath{{path}, {}}, in);
  }
  Added operator()(const std::shared_ptr<const LeafWeights>& leaf) const {
    return builder.Add(graph::FffLeaf{{leaf}}, in);
  }
  Added operator()(const std::shared_ptr<const DenseWeights>& dense) const {
    return builder.Add(graph::Linear{{dense}}, in);
  }
  Added operator()(const MasterLeafOp& op) const {
    const int64_t out = op.leaf->problem.output_width;
    const graph::ValueId leaf = *builder.Add(graph::FffLeaf{{op.leaf}}, in);
    const graph::ValueId master = *builder.AddChain(
        {graph::Linear{{op.hidden}}, graph::Linear{{op.output}}}, in);
    return builder.Add(
        graph::Blend{{std::make_shared<const graph::BlendWeights>(
            graph::BlendWeights{{out, out, op.share}})}},
        {leaf, master});
  }
  Added operator()(const ActivationOp& op) const {
    const int64_t width = builder.WidthOf(in);
    return builder.Add(
        graph::Activate{{std::make_shared<const graph::ActivationWeights>(
            graph::ActivationWeights{{width, width, op.activation}})}},
        in);
  }
  Added operator()(const LayerNormOp& op) const {
    const int64_t width = op.weight.size();
    return builder.Add(
        graph::LayerNorm{{std::make_shared<const graph::LayerNormWeights>(
            graph::LayerNormWeights{
                {width, width, op.epsilon, !op.bias.empty(), op.centred},
                op.weight,
                op.bias})}},
        in);
  }
};

inline graph::Graph GraphOf(const DeviceChain& chain) {
  graph::GraphBuilder builder;
  graph::ValueId value =
      builder.AddInput({"x", tensor::DataType::kF32, {chain.input_width}, {}});
  for (const DeviceOp& op : chain.ops) {
    builder.BeginLayer({});
    const auto next = std::visit(AddDeviceOp{builder, value}, op);
    FFF_CHECK(next.ok());
    value = *next;
  }
  FFF_CHECK(builder.AddOutput({}, value).ok());
  return std::move(builder).Build();
}

inline absl::Status RunProgram(const DeviceProgram& program,
                               tensor::ConstRows x, tensor::MutableRows y,
                               absl::Span<const RouteSink> routes = {}) {
  ExecutionContext context(1);
  return program.Run(RowsBatch(x, y, routes), context);
}

}  // namespace fff::engine
