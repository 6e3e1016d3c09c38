#pragma once

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

// What the dense evaluation of a layer costs, and the layer's own cost; both a
// row, for reports. Bytes count weights touched by one row alone.
struct LayerCost {
  double flops = 0;
  double weight_bytes = 0;
};

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
  virtual int64_t weights_bytes() const = 0;  // canonical and packed together
  virtual LayerCost cost() const = 0;
  // Null for layers that need no planned kernel.
  virtual const engine::KernelPlan* plan() const { return nullptr; }
  // Contract as engine::Kernel::Run.
  virtual void Run(tensor::ConstRows x, tensor::MutableRows y,
                   const engine::RouteSink& routes,
                   engine::ExecutionContext& context) const = 0;
};

}  // namespace fff::model
