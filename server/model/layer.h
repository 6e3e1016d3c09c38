#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "server/engine/execution_context.h"
#include "server/engine/kernel.h"
#include "server/engine/kernel_plan.h"
#include "server/tensor/float_array.h"

namespace fff::model {

// What the wire says of the routing of one layer. Layers that route have
// trees >= 1; the others trees == 0.
struct RoutingShape {
  enum class Family { kNone, kLeaf, kPath };
  Family family = Family::kNone;
  int64_t trees = 0;
  int decisions = 0;  // margins a row and tree
  int depth = 0;      // levels above the bottom one; leaves a tree = 2^depth
};

// What a layer costs a row, for reports. A multiply and an add are two flops;
// element-wise work counts one flop an element and step. Bytes are those of the
// weights that one row alone touches.
struct LayerCost {
  double flops = 0;
  double weight_bytes = 0;
};

// The neurons of a layer that routes: dot products with its input. What a dense
// layer needs to be a fair opponent. Layers that do not route have none.
struct NeuronCount {
  int64_t all = 0;   // that training sees: nodes (path), hidden units (leaf)
  int64_t used = 0;  // dot products of one row, routing decisions included
  engine::Activation activation = engine::Activation::kIdentity;
};

// Scratch slots of thread 0 (ExecutionContext::workspace(0)) above those that
// kernels use: a layer of several kernels has two, the model's chain two more.
inline constexpr int kLayerSlots[] = {12, 13};
inline constexpr int kModelSlots[] = {14, 15};

// One step of a model. Immutable after build; Run may be called from many
// threads, each with its own context.
class Layer {
 public:
  virtual ~Layer() = default;
  // "fff", "linear", ...: the `type` of config.json.
  virtual std::string type() const = 0;
  // One line for people: convention, shape, activation.
  virtual std::string Describe() const = 0;
  virtual int64_t input_width() const = 0;
  virtual int64_t output_width() const = 0;
  virtual RoutingShape routing() const { return {}; }
  virtual NeuronCount neurons() const { return {}; }
  virtual int64_t weights_bytes() const = 0;  // canonical and packed together
  virtual LayerCost cost() const = 0;
  // True when y is x unchanged; the model then passes rows by.
  virtual bool is_identity() const { return false; }
  // Null for layers that need no planned kernel.
  virtual const engine::KernelPlan* plan() const { return nullptr; }
  // Contract as engine::Kernel::Run.
  virtual void Run(tensor::ConstRows x, tensor::MutableRows y,
                   const engine::RouteSink& routes,
                   engine::ExecutionContext& context) const = 0;
};

}  // namespace fff::model
