#pragma once

#include <string>

#include "server/engine/problem.h"
#include "server/model/layer.h"

namespace fff::model {

// y = act(x), element by element.
class ActivationLayer : public Layer {
 public:
  ActivationLayer(engine::Activation activation, int64_t width)
      : activation_(activation), width_(width) {}

  std::string type() const override { return "activation"; }
  std::string Describe() const override;
  int64_t input_width() const override { return width_; }
  int64_t output_width() const override { return width_; }
  int64_t weights_bytes() const override { return 0; }
  LayerCost cost() const override;
  bool is_identity() const override {
    return activation_ == engine::Activation::kIdentity;
  }
  void Run(tensor::ConstRows x, tensor::MutableRows y,
           const engine::RouteSink& routes,
           engine::ExecutionContext& context) const override;

 private:
  engine::Activation activation_;
  int64_t width_;
};

}  // namespace fff::model
