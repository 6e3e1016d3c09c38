#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/checkpoint.h"
#include "server/importer/dense_weights.h"
#include "server/importer/layers/layer_type.h"
#include "server/importer/layers/sequence.h"

namespace fff::importer {
namespace {

using graph::DenseWeights;
using graph::GraphBuilder;
using graph::ValueId;
using QkvLayout = graph::AttentionProblem::Layout;

constexpr IntegerRange kHeads = {1, 4096};

// What is added to the scores of tokens that the mask leaves out.
std::optional<double> ReadMaskValue(JsonFields& fields) {
  const std::vector<double> value = fields.Numbers("mask_value", 1);
  if (value.empty()) return std::nullopt;
  if (value[0] > 0 || value[0] < std::numeric_limits<float>::lowest()) {
    fields.errors().Add(
        fields.PathOf("mask_value"),
        absl::StrCat("found ", value[0],
                     ", wanted a float32 number that is 0 or less"));
  }
  return value[0];
}

// "qkv", one linear layer for all three, or "query", "key" and "value".
void ReadProjections(JsonFields& fields, LayerConfig& config) {
  const auto qkv = fields.String("qkv", checkpoint::kTensorNameBytesMax);
  const char* const kParts[] = {"query", "key", "value"};
  std::vector<std::string> parts;
  for (const char* part : kParts) {
    auto prefix = fields.String(part, checkpoint::kTensorNameBytesMax);
    if (prefix.has_value()) parts.push_back(*std::move(prefix));
  }
  if (qkv.has_value() ? !parts.empty() : parts.size() != 3) {
    fields.errors().Add(
        fields.PathOf("qkv"),
        "wanted either \"qkv\", the prefix of one linear layer, or \"query\", "
        "\"key\" and \"value\", those of three");
  }
  config.qkv = qkv.has_value() ? std::vector<std::string>{*qkv} : parts;
}

// Names and shapes cannot tell how the rows of one layer are laid out.
void ReadLayout(JsonFields& fields, LayerConfig& config) {
  const auto layout = fields.OneOf<QkvLayout>(
      "layout", {{"blocks", QkvLayout::kBlocks}, {"heads", QkvLayout::kHeads}});
  if (config.qkv.size() == 3 && layout == QkvLayout::kHeads) {
    fields.errors().Add(fields.PathOf("layout"),
                        "found \"heads\", but three layers are three blocks");
  }
  if (config.qkv.size() == 1 && !layout.has_value()) {
    fields.errors().Add(
        fields.PathOf("layout"),
        "this key is missing: rows of \"qkv\" are either \"blocks\" (all "
        "queries, all keys, all values: torch.nn.MultiheadAttention, most "
        "vision transformers) or \"heads\" (query, key and value of one head "
        "after the other: crammed BERT)");
  }
  config.layout = layout.value_or(QkvLayout::kBlocks);
}

// Three layers of equal shapes as one, the rows one below the other.
absl::StatusOr<DenseWeights> Stacked(const std::vector<DenseWeights>& parts) {
  DenseWeights all;
  all.problem = parts[0].problem;
  for (const DenseWeights& part : parts) {
    if (part.problem.input_width == all.problem.input_width &&
        part.problem.output_width == all.problem.output_width) {
      continue;
    }
    return absl::InvalidArgumentError(absl::StrCat(
        "query, key and value differ: found ", part.problem.ToString(),
        " beside ", all.problem.ToString()));
  }
  for (const DenseWeights& part : parts) {
    all.problem.has_bias |= part.problem.has_bias;
  }
  const auto count = static_cast<int64_t>(parts.size());
  const int64_t out = all.problem.output_width;
  const int64_t elements = out * all.problem.input_width;
  tensor::FloatBuffer w(count * elements);
  tensor::FloatBuffer bias(all.problem.has_bias ? count * out : 0);
  for (int64_t i = 0; i < count; ++i) {
    const DenseWeights& part = parts[static_cast<size_t>(i)];
    std::copy_n(part.w.data(), elements, w.data() + i * elements);
    if (bias.size() == 0) continue;
    if (part.problem.has_bias) {
      std::copy_n(part.bias.data(), out, bias.data() + i * out);
    } else {
      std::fill_n(bias.data() + i * out, out, 0.0F);
    }
  }
  all.problem.output_width = count * out;
  all.w = std::move(w).Freeze();
  if (bias.size() > 0) all.bias = std::move(bias).Freeze();
  return all;
}

absl::StatusOr<DenseWeights> ReadQkv(const LayerConfig& config,
                                     TensorReader& reader) {
  std::vector<DenseWeights> parts;
  for (const std::string& prefix : config.qkv) {
    FFF_ASSIGN_OR_RETURN(DenseWeights part,
                         ReadDense(absl::StrCat(prefix, config.weight),
                                   absl::StrCat(prefix, config.bias), reader));
    parts.push_back(std::move(part));
  }
  if (parts.size() == 1) return std::move(parts[0]);
  return Stacked(parts);
}

// All but the tokens.
absl::StatusOr<graph::AttentionProblem> ReadProblem(const LayerConfig& config,
                                                    int64_t qkv_width,
                                                    TensorReader& reader) {
  if (qkv_width % (3 * config.heads) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"heads\": found ", config.heads, ", but the ", qkv_width,
        " rows of query, key and value do not divide by 3 * ", config.heads));
  }
  graph::AttentionProblem problem;
  problem.heads = config.heads;
  problem.head_width = qkv_width / (3 * config.heads);
  problem.layout = config.layout;
  problem.causal = config.causal;
  problem.exclude_self = config.exclude_self;
  problem.masked = config.mask_value.has_value();
  problem.mask_value = static_cast<float>(config.mask_value.value_or(0));
  problem.scale = static_cast<float>(
      1 / std::sqrt(static_cast<double>(problem.head_width)));
  if (!config.scale_tensor.empty()) {
    FFF_ASSIGN_OR_RETURN(const float log_scale,
                         reader.Scalar(config.scale_tensor));
    problem.scale = static_cast<float>(std::exp(double{log_scale}));
  }
  return problem;
}

graph::Op Linear(const DenseWeights& weights) {
  return graph::Linear{{std::make_shared<const DenseWeights>(weights)}};
}

// The op between the linear layers; `in` is its input, `problem` all but the
// tokens.
absl::StatusOr<ValueId> AddAttention(GraphBuilder& builder, ValueId in,
                                     const Sequence& from,
                                     const graph::AttentionProblem& problem,
                                     const LayerContext& context) {
  if (from.tokens > graph::kTokensMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "got ", from.tokens, " tokens, wanted at most ", graph::kTokensMax));
  }
  const int64_t tokens = std::max(from.tokens, int64_t{1});
  auto weights = std::make_shared<graph::AttentionWeights>();
  weights->problem = problem;
  weights->problem.tokens = from.tokens;
  weights->problem.input_width = tokens * 3 * problem.width();
  weights->problem.output_width = tokens * problem.width();
  std::vector<ValueId> inputs = {in};
  if (problem.masked) {
    FFF_ASSIGN_OR_RETURN(const ValueId mask, MaskOf(context, "mask_value"));
    inputs.push_back(mask);
  }
  return builder.Add(graph::Attention{{std::move(weights)}}, inputs);
}

// Queries, keys and values by linear layers, graph::Attention, and a linear
// layer behind it. With "mask_value" it sees the network's mask.
void ReadAttention(JsonFields& fields, LayerConfig& config) {
  const auto heads = fields.Integer("heads", kHeads);
  if (!heads.has_value()) {
    fields.errors().Add(fields.PathOf("heads"), "this key is missing");
  }
  config.heads = heads.value_or(1);
  ReadProjections(fields, config);
  ReadLayout(fields, config);
  const auto name = [&fields](const char* key, std::string other) {
    return fields.String(key, checkpoint::kTensorNameBytesMax)
        .value_or(std::move(other));
  };
  config.weight = name("weight", config.weight);
  config.bias = name("bias", config.bias);
  config.out = fields.String("out", checkpoint::kTensorNameBytesMax);
  config.causal = fields.Bool("causal").value_or(false);
  config.exclude_self = fields.Bool("exclude_self").value_or(false);
  config.scale_tensor = ReadName(fields, "log_scale");
  config.mask_value = ReadMaskValue(fields);
}

absl::StatusOr<LoadedLayer> LoadAttention(const LayerConfig& config,
                                          TensorReader& reader) {
  FFF_ASSIGN_OR_RETURN(const DenseWeights qkv, ReadQkv(config, reader));
  FFF_ASSIGN_OR_RETURN(const graph::AttentionProblem problem,
                       ReadProblem(config, qkv.problem.output_width, reader));
  std::vector<graph::Op> behind;
  if (config.out.has_value()) {
    FFF_ASSIGN_OR_RETURN(const DenseWeights out,
                         ReadDense(absl::StrCat(*config.out, "weight"),
                                   absl::StrCat(*config.out, "bias"), reader));
    behind.push_back(Linear(out));
  }
  LoadedLayer loaded;
  loaded.layer.type = config.type;
  loaded.input_width = qkv.problem.input_width;
  loaded.add = [qkv = Linear(qkv), problem, behind](
                   GraphBuilder& builder, ValueId in,
                   const LayerContext& context) -> absl::StatusOr<ValueId> {
    FFF_ASSIGN_OR_RETURN(const Sequence from, SequenceOf(builder.TypeOf(in)));
    FFF_ASSIGN_OR_RETURN(const ValueId projected, builder.Add(qkv, in));
    FFF_ASSIGN_OR_RETURN(
        const ValueId mixed,
        AddAttention(builder, projected, from, problem, context));
    return builder.AddChain(behind, mixed);
  };
  return loaded;
}

}  // namespace

absl::Span<const LayerType> AttentionLayers() {
  static constexpr LayerType kTypes[] = {
      {"attention", false, true, ReadAttention, LoadAttention},
  };
  return kTypes;
}

}  // namespace fff::importer
