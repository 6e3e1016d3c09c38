#include "server/model/model.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace fff::model {
namespace {

// Both ping-pong buffers together: half of a 32 MiB last-level cache, so that
// weights have the other half.
constexpr int64_t kCacheFloats = (int64_t{16} << 20) / sizeof(float);
// At 256 rows a dense layer does 512 flops for each weight it reads: one core
// of 250 GFLOP/s then asks for 2 GB/s of weights, far below what memory gives.
constexpr int64_t kRowsWorthAPass = 256;
// Whatever the width, one thread's intermediates stay below 1 GiB, unless a
// single row is larger.
constexpr int64_t kMemoryFloats = (int64_t{1} << 30) / sizeof(float);

// `sink` moved on by `rows` rows.
engine::RouteSink Advance(const engine::RouteSink& sink,
                          const RoutingShape& shape, int64_t rows) {
  engine::RouteSink moved;
  if (sink.leaves != nullptr) moved.leaves = sink.leaves + rows * shape.trees;
  if (sink.margins != nullptr) {
    moved.margins = sink.margins + rows * shape.trees * shape.decisions;
  }
  return moved;
}

}  // namespace

int64_t TensorSpec::width() const {
  int64_t product = 1;
  for (const int64_t dimension : shape) product *= dimension;
  return product;
}

int64_t RowsABlock(int64_t rows, int64_t widths_sum) {
  if (rows <= 1 || widths_sum == 0) return std::max<int64_t>(rows, 1);
  const int64_t in_cache = std::max(kCacheFloats / widths_sum, kRowsWorthAPass);
  const int64_t in_memory = std::max<int64_t>(kMemoryFloats / widths_sum, 1);
  const int64_t rows_max = std::min(in_cache, in_memory);
  const int64_t blocks = (rows + rows_max - 1) / rows_max;
  return (rows + blocks - 1) / blocks;
}

Model::Model(TensorSpec input, TensorSpec output,
             std::vector<std::unique_ptr<const Layer>> layers)
    : input_(std::move(input)),
      output_(std::move(output)),
      layers_(std::move(layers)) {
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (!layers_[i]->is_identity()) steps_.push_back({layers_[i].get(), i});
  }
  for (size_t i = 0; i + 1 < steps_.size(); ++i) {
    slot_widths_[i % 2] =
        std::max(slot_widths_[i % 2], steps_[i].layer->output_width());
  }
}

int64_t Model::weights_bytes() const {
  int64_t bytes = 0;
  for (const auto& layer : layers_) bytes += layer->weights_bytes();
  return bytes;
}

LayerCost Model::cost() const {
  LayerCost sum;
  for (const auto& layer : layers_) {
    const LayerCost cost = layer->cost();
    sum.flops += cost.flops;
    sum.weight_bytes += cost.weight_bytes;
  }
  return sum;
}

void Model::RunBlock(tensor::ConstRows x, tensor::MutableRows y,
                     int64_t first_row,
                     absl::Span<const engine::RouteSink> routes,
                     engine::ExecutionContext& context) const {
  engine::Workspace& workspace = context.workspace(0);
  tensor::ConstRows from = x;
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Layer& layer = *steps_[i].layer;
    tensor::MutableRows to = y;
    if (i + 1 < steps_.size()) {
      const size_t slot = i % 2;
      to = {workspace.Floats(kModelSlots[slot], x.rows * slot_widths_[slot]),
            x.rows, layer.output_width()};
    }
    engine::RouteSink sink;
    if (!routes.empty() && layer.routing().trees > 0) {
      sink = Advance(routes[steps_[i].index], layer.routing(), first_row);
    }
    layer.Run(from, to, sink, context);
    from = {to.data, to.rows, to.width};
  }
}

std::string Model::device() const {
  if (device_copy_ == nullptr) return "cpu";
  return device_copy_->rows_min() <= 1
             ? device_copy_->device()
             : absl::StrCat("cpu+", device_copy_->device());
}

std::vector<engine::KernelPlan::Step> Model::KernelSteps(size_t i) const {
  std::vector<engine::KernelPlan::Step> steps;
  const engine::KernelPlan* plan = layers_[i]->plan();
  if (plan == nullptr) return steps;
  if (device_copy_ == nullptr) return plan->steps();
  const int64_t rows_min = device_copy_->rows_min();
  for (const engine::KernelPlan::Step& step : plan->steps()) {
    if (step.rows_min < rows_min) steps.push_back(step);
  }
  for (engine::KernelPlan::Step& step : device_copy_->steps(i)) {
    // The last step at or below rows_min starts there.
    if (step.rows_min <= rows_min) {
      if (!steps.empty() && steps.back().rows_min == rows_min) steps.pop_back();
      step.rows_min = rows_min;
    }
    steps.push_back(std::move(step));
  }
  return steps;
}

void Model::Run(tensor::ConstRows x, tensor::MutableRows y,
                absl::Span<const engine::RouteSink> routes,
                engine::ExecutionContext& context) const {
  if (device_copy_ != nullptr && x.rows >= device_copy_->rows_min() &&
      device_copy_->Run(x, y, routes).ok()) {
    return;
  }
  RunOnCpu(x, y, routes, context);
}

void Model::RunOnCpu(tensor::ConstRows x, tensor::MutableRows y,
                     absl::Span<const engine::RouteSink> routes,
                     engine::ExecutionContext& context) const {
  if (x.rows == 0) return;
  if (steps_.empty()) {
    std::copy_n(x.data, x.rows * x.width, y.data);
    return;
  }
  const int64_t block = RowsABlock(x.rows, slot_widths_[0] + slot_widths_[1]);
  for (int64_t begin = 0; begin < x.rows; begin += block) {
    const int64_t rows = std::min(block, x.rows - begin);
    RunBlock({x.row(begin), rows, x.width}, {y.row(begin), rows, y.width},
             begin, routes, context);
  }
}

}  // namespace fff::model
