#include "server/benchmark/case_models.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/checkpoint.h"
#include "server/importer/import.h"
#include "server/importer/model_config.h"
#include "server/tensor/float_array.h"
#include "server/tensor/random.h"

namespace fff::benchmark {
namespace {

// Collects random tensors into a checkpoint that owns them.
class SyntheticCheckpoint {
 public:
  SyntheticCheckpoint(std::string source, uint64_t seed)
      : source_(std::move(source)), random_(seed) {}

  // Uniform values whose dot product with `fan_in` standard-normal inputs has
  // variance one; fan_in 0 makes zeros.
  // `fill` without a fan_in.
  void Add(const std::string& name, tensor::Shape shape, int64_t fan_in,
           float fill = 0) {
    const int64_t elements = *tensor::NumElements(shape);
    tensor::FloatBuffer buffer(elements);
    std::fill_n(buffer.data(), elements, fill);
    if (fan_in > 0) {
      tensor::FillUniform(random_, std::sqrt(3.0F / static_cast<float>(fan_in)),
                          buffer.span());
    }
    buffers_.push_back(std::move(buffer));
    checkpoint::NamedTensor tensor;
    tensor.data_type = tensor::DataType::kF32;
    tensor.shape = std::move(shape);
    tensor.bytes = {reinterpret_cast<const std::byte*>(buffers_.back().data()),
                    static_cast<size_t>(elements) * sizeof(float)};
    tensors_.emplace(name, std::move(tensor));
  }

  checkpoint::Checkpoint Build() && {
    return checkpoint::Checkpoint(
        std::move(source_), "safetensors", std::move(tensors_),
        std::make_shared<const std::vector<tensor::FloatBuffer>>(
            std::move(buffers_)));
  }

 private:
  std::string source_;
  tensor::Random random_;
  std::vector<tensor::FloatBuffer> buffers_;
  checkpoint::Checkpoint::TensorMap tensors_;
};

// The tensors that the convention's public code saves.
checkpoint::Checkpoint FffCheckpoint(const CaseSpec& spec, uint64_t seed) {
  SyntheticCheckpoint made(absl::StrCat("benchmark case ", spec.name), seed);
  const int64_t nodes = spec.nodes();
  const int64_t in = spec.input_width;
  const int64_t out = spec.output_width;
  if (spec.leaf_width > 0) {
    const int64_t leaves = int64_t{1} << spec.depth;
    made.Add("node_weights", {nodes, in}, in);
    made.Add("node_biases", {nodes, 1}, 0);
    made.Add("w1s", {leaves, in, spec.leaf_width}, in);
    made.Add("b1s", {leaves, spec.leaf_width}, in);
    made.Add("w2s", {leaves, spec.leaf_width, out}, spec.leaf_width);
    made.Add("b2s", {leaves, out}, spec.leaf_width);
  } else if (spec.convention == "ultrafastbert") {
    const int64_t neurons = spec.trees * nodes;
    made.Add("linear_in.weight", {neurons, in}, in);
    made.Add("linear_in.bias", {neurons}, 0);
    made.Add("linear_out.weight", {out, neurons}, spec.trees * spec.depth + 1);
  } else {
    const bool sap = spec.convention == "sap-fff";
    made.Add(sap ? "X" : "w1s", {nodes, in}, in);
    made.Add(sap ? "Y" : "w2s", {nodes, out}, spec.depth + 1);
  }
  return std::move(made).Build();
}

importer::ModelConfig FffConfig(const CaseSpec& spec) {
  importer::LayerConfig layer;
  layer.convention = spec.convention;
  if (spec.convention == "ultrafastbert") layer.trees = spec.trees;
  importer::ModelConfig config;
  config.layers.emplace_back(layer);
  config.engine = spec.engine;
  config.precision = spec.precision;
  return config;
}

graph::Activation ActivationOf(const CaseSpec& spec) {
  if (spec.convention == "fastfeedforward") return graph::Activation::kRelu;
  return spec.convention == "sap-fff" ? graph::Activation::kIdentity
                                      : graph::Activation::kGelu;
}

absl::StatusOr<std::shared_ptr<const model::Model>> BuildDense(
    const CaseSpec& spec, uint64_t seed, const model::BuildOptions& options) {
  SyntheticCheckpoint made(absl::StrCat("dense of benchmark case ", spec.name),
                           seed);
  importer::ModelConfig config;
  const auto add = [&](const std::string& prefix, int64_t in, int64_t out,
                       graph::Activation activation) {
    made.Add(prefix + "weight", {out, in}, in);
    made.Add(prefix + "bias", {out}, in);
    importer::LayerConfig layer;
    layer.type = "linear";
    layer.prefix = prefix;
    layer.activation = activation;
    config.layers.emplace_back(layer);
  };
  if (spec.dense == DenseOpponent::kLinear) {
    add("linear.", spec.input_width, spec.output_width,
        graph::Activation::kIdentity);
  } else {
    add("up.", spec.input_width, spec.dense_width, ActivationOf(spec));
    add("down.", spec.dense_width, spec.output_width,
        graph::Activation::kIdentity);
  }
  FFF_ASSIGN_OR_RETURN(const graph::Graph dense,
                       importer::Import(config, std::move(made).Build()));
  return model::BuildModel(config, dense, options);
}

std::string DescribeDense(const CaseSpec& spec) {
  const std::string edge =
      absl::StrCat(spec.input_width, " to ", spec.output_width);
  if (spec.dense == DenseOpponent::kLinear) {
    return absl::StrCat("one dense linear layer, ", edge);
  }
  return absl::StrCat("dense feedforward layer of ", spec.dense_width,
                      " neurons, ", edge);
}

absl::StatusOr<CaseModels> BuildNetwork(const CaseSpec& spec, uint64_t seed,
                                        const model::BuildOptions& options) {
  const std::string source = absl::StrCat("benchmark case ", spec.name);
  SyntheticCheckpoint made(source, seed);
  for (const CaseTensor& tensor : spec.tensors) {
    made.Add(tensor.name, tensor.shape, tensor.fan_in, tensor.fill);
  }
  FFF_ASSIGN_OR_RETURN(importer::ModelConfig config,
                       importer::ParseModelConfig(spec.config, source));
  config.engine = spec.engine;
  config.precision = spec.precision;
  FFF_ASSIGN_OR_RETURN(const graph::Graph graph,
                       importer::Import(config, std::move(made).Build()));
  CaseModels models;
  FFF_ASSIGN_OR_RETURN(models.fff, model::BuildModel(config, graph, options));
  if (spec.dense == DenseOpponent::kWidth) {
    FFF_ASSIGN_OR_RETURN(models.dense,
                         BuildOfWidth(*models.fff, spec.dense_width, seed + 1));
    return models;
  }
  FFF_ASSIGN_OR_RETURN(model::DenseTwin twin,
                       model::BuildCostTwin(config, graph, options));
  models.dense = {BaselineKind::kNeurons, std::move(twin.description),
                  std::move(twin.model)};
  return models;
}

}  // namespace

absl::StatusOr<CaseModels> BuildCaseModels(const CaseSpec& spec, uint64_t seed,
                                           const model::BuildOptions& options) {
  if (spec.is_network()) return BuildNetwork(spec, seed, options);
  const checkpoint::Checkpoint checkpoint = FffCheckpoint(spec, seed);
  const importer::ModelConfig config = FffConfig(spec);
  FFF_ASSIGN_OR_RETURN(const graph::Graph graph,
                       importer::Import(config, checkpoint));
  CaseModels models;
  FFF_ASSIGN_OR_RETURN(models.fff, model::BuildModel(config, graph, options));
  if (spec.dense == DenseOpponent::kNeurons) {
    FFF_ASSIGN_OR_RETURN(model::DenseTwin twin,
                         model::BuildCostTwin(config, graph, options));
    models.dense = {BaselineKind::kNeurons, std::move(twin.description),
                    std::move(twin.model)};
    return models;
  }
  models.dense.kind = BaselineKind::kChosen;
  models.dense.description = DescribeDense(spec);
  FFF_ASSIGN_OR_RETURN(models.dense.model, BuildDense(spec, seed + 1, options));
  return models;
}

}  // namespace fff::benchmark
