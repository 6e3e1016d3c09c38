#pragma once

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "server/checkpoint/checkpoint.h"
#include "server/engine/execution_context.h"
#include "server/importer/import.h"
#include "server/model/builder.h"
#include "server/model/model.h"

// Checkpoints and inputs made in memory, the same on every run.
namespace fff::model::test {

class SyntheticCheckpoint {
 public:
  explicit SyntheticCheckpoint(std::string source = "test.safetensors")
      : source_(std::move(source)), random_(7) {}

  SyntheticCheckpoint& Add(const std::string& name, tensor::Shape shape,
                           std::vector<float> values) {
    auto held = std::make_shared<std::vector<float>>(std::move(values));
    checkpoint::NamedTensor& tensor = tensors_[name];
    tensor.data_type = tensor::DataType::kF32;
    tensor.shape = std::move(shape);
    tensor.bytes = {reinterpret_cast<const std::byte*>(held->data()),
                    held->size() * sizeof(float)};
    storage_->push_back(std::move(held));
    return *this;
  }

  // Normal values of deviation 1 / sqrt(last dimension).
  SyntheticCheckpoint& AddRandom(const std::string& name, tensor::Shape shape) {
    int64_t count = 1;
    for (const int64_t dimension : shape) count *= dimension;
    const double width =
        shape.empty() ? 1.0 : static_cast<double>(shape.back());
    std::normal_distribution<float> normal(
        0, static_cast<float>(1 / std::sqrt(std::max(width, 1.0))));
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = normal(random_);
    return Add(name, std::move(shape), std::move(values));
  }

  SyntheticCheckpoint& AddInteger(const std::string& name, int64_t value) {
    auto held = std::make_shared<std::vector<float>>(2);
    std::memcpy(held->data(), &value, sizeof(value));
    checkpoint::NamedTensor& tensor = tensors_[name];
    tensor.data_type = tensor::DataType::kI64;
    tensor.shape = {};
    tensor.bytes = {reinterpret_cast<const std::byte*>(held->data()),
                    sizeof(value)};
    storage_->push_back(std::move(held));
    return *this;
  }

  SyntheticCheckpoint& Remove(const std::string& name) {
    tensors_.erase(name);
    return *this;
  }

  // A fastfeedforward layer under `prefix`.
  SyntheticCheckpoint& AddLeafLayer(const std::string& prefix, int64_t in,
                                    int64_t leaf, int64_t out, int depth) {
    const int64_t leaves = int64_t{1} << depth;
    AddInteger(prefix + "depth", depth);
    AddRandom(prefix + "node_weights", {leaves - 1, in});
    AddRandom(prefix + "node_biases", {leaves - 1, 1});
    AddRandom(prefix + "w1s", {leaves, in, leaf});
    AddRandom(prefix + "b1s", {leaves, leaf});
    AddRandom(prefix + "w2s", {leaves, leaf, out});
    return AddRandom(prefix + "b2s", {leaves, out});
  }

  // The tensors that make a master leaf of it.
  SyntheticCheckpoint& AddMasterLeaf(const std::string& prefix, int64_t in,
                                     int64_t width, int64_t out, float k) {
    AddRandom(prefix + "magic_w1", {1, in, width});
    AddRandom(prefix + "magic_b1", {1, width});
    AddRandom(prefix + "magic_w2", {1, width, out});
    AddRandom(prefix + "magic_b2", {1, out});
    return Add(prefix + "k", {1}, {k});
  }

  // An ultrafastbert layer under `prefix`.
  SyntheticCheckpoint& AddLinearPair(const std::string& prefix, int64_t in,
                                     int64_t rows, int64_t out) {
    AddRandom(prefix + "linear_in.weight", {rows, in});
    AddRandom(prefix + "linear_in.bias", {rows});
    return AddRandom(prefix + "linear_out.weight", {out, rows});
  }

  // A copy of an F32 tensor's values.
  std::vector<float> ValuesOf(const std::string& name) const {
    const checkpoint::NamedTensor& tensor = tensors_.at(name);
    std::vector<float> values(tensor.bytes.size() / sizeof(float));
    std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    return values;
  }

  checkpoint::Checkpoint Build() const {
    return checkpoint::Checkpoint(source_, "safetensors", tensors_, storage_);
  }

 private:
  using Held = std::vector<std::shared_ptr<std::vector<float>>>;

  std::string source_;
  std::mt19937 random_;
  checkpoint::Checkpoint::TensorMap tensors_;
  std::shared_ptr<Held> storage_ = std::make_shared<Held>();
};

// Standard-normal rows.
inline std::vector<float> RandomRows(int64_t rows, int64_t width,
                                     uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(rows * width));
  for (float& value : values) value = normal(random);
  return values;
}

// The model's outputs for whole rows, on `threads` threads.
inline std::vector<float> RunModel(
    const Model& model, const std::vector<float>& x,
    absl::Span<const engine::RouteSink> routes = {}, int threads = 1) {
  engine::ExecutionContext context(threads);
  const int64_t rows = static_cast<int64_t>(x.size()) / model.input().width();
  // Any value that is not overwritten shows.
  std::vector<float> y(static_cast<size_t>(rows * model.output().width()),
                       std::nanf(""));
  model.Run(engine::RowsBatch({x.data(), rows, model.input().width()},
                              {y.data(), rows, model.output().width()}, routes),
            context);
  return y;
}

// From config and checkpoint at once.
inline absl::StatusOr<std::shared_ptr<const Model>> BuildFrom(
    const importer::ModelConfig& config,
    const checkpoint::Checkpoint& checkpoint,
    const BuildOptions& options = BuildOptions()) {
  const auto graph = importer::Import(config, checkpoint);
  if (!graph.ok()) return graph.status();
  return BuildModel(config, *graph, options);
}
inline absl::StatusOr<DenseTwin> BuildCostTwinFrom(
    const importer::ModelConfig& config,
    const checkpoint::Checkpoint& checkpoint) {
  const auto graph = importer::Import(config, checkpoint);
  if (!graph.ok()) return graph.status();
  return BuildCostTwin(config, *graph, BuildOptions());
}

}  // namespace fff::model::test
