#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "server/model/device_copy.h"
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
  int64_t weights_bytes() const;  // in host memory
  LayerCost cost() const;         // sum over layers

  // From now on batches of copy->rows_min() rows and more run on a device.
  // While the model is being built only; null changes nothing.
  void SetDeviceCopy(std::unique_ptr<const DeviceCopy> copy) {
    device_copy_ = std::move(copy);
  }
  const DeviceCopy* device_copy() const { return device_copy_.get(); }
  // "cpu", "cuda:0" or, when batch sizes are divided, "cpu+cuda:0".
  std::string device() const;
  // Which kernel serves which batch size of layer i, on either side; empty for
  // a layer that needs no planned kernel.
  std::vector<engine::KernelPlan::Step> KernelSteps(size_t i) const;

  // Batches whose intermediate rows would not stay in the cache run in blocks
  // of rows (RowsABlock); a row's result does not depend on that beyond
  // rounding. y and x must not overlap. Uses kModelSlots of the context.
  // y [rows, output width] from x [rows, input width]. `routes` is empty (no
  // routing wanted) or holds one sink a layer, in order; sinks of layers that
  // do not route are ignored.
  void Run(tensor::ConstRows x, tensor::MutableRows y,
           absl::Span<const engine::RouteSink> routes,
           engine::ExecutionContext& context) const;
  // The same on the CPU whatever the batch size. What Run does, too, when the
  // device has failed, so that no request is lost with it.
  void RunOnCpu(tensor::ConstRows x, tensor::MutableRows y,
                absl::Span<const engine::RouteSink> routes,
                engine::ExecutionContext& context) const;

 private:
  // One layer that computes; identities are passed by.
  struct Step {
    const Layer* layer;
    size_t index;  // in layers_
  };
  void RunBlock(tensor::ConstRows x, tensor::MutableRows y, int64_t first_row,
                absl::Span<const engine::RouteSink> routes,
                engine::ExecutionContext& context) const;

  TensorSpec input_;
  TensorSpec output_;
  std::vector<std::unique_ptr<const Layer>> layers_;
  std::vector<Step> steps_;
  int64_t slot_widths_[2] = {0, 0};  // the widest intermediate of each slot
  std::unique_ptr<const DeviceCopy> device_copy_;  // or null
};

// Rows a block for a chain whose intermediates hold `widths_sum` floats a row,
// out of `rows`: as many as keep them in a shared cache, but enough rows that
// a block's products outweigh reading the weights once more, and never more
// than a fixed amount of memory. At least 1; blocks are of even size.
int64_t RowsABlock(int64_t rows, int64_t widths_sum);

}  // namespace fff::model
