#pragma once

#include <string>

#include "server/model/layer.h"
#include "server/tensor/float_array.h"

namespace fff::model {

// y = (x - mean) / sqrt(variance + epsilon) * weight + bias over one row, the
// variance divided by the width, as torch.nn.LayerNorm. Mean and variance are
// summed in double, so their error is below that of the fp32 inputs.
class LayerNormLayer : public Layer {
 public:
  // weight [width]; bias [width] or empty.
  LayerNormLayer(tensor::FloatArray weight, tensor::FloatArray bias,
                 double epsilon);

  std::string type() const override { return "layer_norm"; }
  std::string Describe() const override;
  int64_t input_width() const override { return weight_.size(); }
  int64_t output_width() const override { return weight_.size(); }
  int64_t weights_bytes() const override;
  LayerCost cost() const override;
  void Run(tensor::ConstRows x, tensor::MutableRows y,
           const engine::RouteSink& routes,
           engine::ExecutionContext& context) const override;

 private:
  void RunRow(const float* x, float* y) const;

  tensor::FloatArray weight_;
  tensor::FloatArray bias_;
  double epsilon_;
};

}  // namespace fff::model
