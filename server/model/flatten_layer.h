#pragma once

#include <string>

#include "server/model/layer.h"

namespace fff::model {

// Drops the shape of a row. Rows are row-major already, so nothing is computed;
// the layer exists so that a model's layers match its config.json one by one.
class FlattenLayer : public Layer {
 public:
  explicit FlattenLayer(int64_t width) : width_(width) {}

  std::string type() const override { return "flatten"; }
  std::string Describe() const override;
  int64_t input_width() const override { return width_; }
  int64_t output_width() const override { return width_; }
  int64_t weights_bytes() const override { return 0; }
  LayerCost cost() const override { return {}; }
  bool is_identity() const override { return true; }
  void Run(tensor::ConstRows x, tensor::MutableRows y,
           const engine::RouteSink& routes,
           engine::ExecutionContext& context) const override;

 private:
  int64_t width_;
};

}  // namespace fff::model
