#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "server/model/layer.h"

namespace fff::model {

// One tensor at the model's edge: float32, first dimension the batch (rows).
struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;       // without the batch dimension
  std::vector<std::string> labels;  // output only: one a column, or empty
  int64_t width() const;            // product of shape
};

// A chain of layers with named edges. Immutable after build, shared by
// shared_ptr; Run may be called from many threads, each with its own context.
class Model {
 public:
  Model(TensorSpec input, TensorSpec output,
        std::vector<std::unique_ptr<const Layer>> layers);

  const TensorSpec& input() const { return input_; }
  const TensorSpec& output() const { return output_; }
  absl::Span<const std::unique_ptr<const Layer>> layers() const {
    return layers_;
  }
  int64_t weights_bytes() const;
  LayerCost cost() const;  // sum over layers

  // y [rows, output width] from x [rows, input width]. `routes` is empty (no
  // routing wanted) or holds one sink a layer, in order; sinks of layers that
  // do not route are ignored.
  void Run(tensor::ConstRows x, tensor::MutableRows y,
           absl::Span<const engine::RouteSink> routes,
           engine::ExecutionContext& context) const;

 private:
  TensorSpec input_;
  TensorSpec output_;
  std::vector<std::unique_ptr<const Layer>> layers_;
};

}  // namespace fff::model
