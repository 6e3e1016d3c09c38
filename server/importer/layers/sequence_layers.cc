#include <algorithm>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/checkpoint.h"
#include "server/importer/layers/layer_type.h"
#include "server/importer/layers/sequence.h"

namespace fff::importer {
namespace {

using graph::GraphBuilder;
using graph::ValueId;
using Over = graph::PoolTokensProblem::Over;
using tensor::FloatArray;
using tensor::FloatBuffer;

absl::StatusOr<graph::Op> PrependToken(const FloatArray& token,
                                       const Sequence& from,
                                       const std::string& name) {
  if (from.tokens == 0) {
    return absl::InvalidArgumentError(
        "got sequences of any length, wanted sequences of one length");
  }
  if (token.size() != from.width) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor \"", name, "\": found ", token.size(),
                     " elements, wanted ", from.width, ", a token's width"));
  }
  const int64_t elements = (from.tokens + 1) * from.width;
  graph::RearrangeWeights weights;
  weights.problem = {from.tokens * from.width,
                     elements,
                     {from.tokens + 1, from.width},
                     /*moves=*/true,
                     /*adds=*/true,
                     "a token in front"};
  weights.index.assign(static_cast<size_t>(elements), -1);
  std::iota(weights.index.begin() + from.width, weights.index.end(), 0);
  FloatBuffer addend(elements);
  std::fill_n(addend.data(), elements, 0.0F);
  std::copy_n(token.data(), from.width, addend.data());
  weights.addend = std::move(addend).Freeze();
  return MakeRearrange(std::move(weights));
}

graph::Op FirstToken(const Sequence& from) {
  graph::RearrangeWeights weights;
  weights.problem = {from.tokens * from.width, from.width,   {from.width},
                     /*moves=*/true,
                     /*adds=*/false,           "first token"};
  weights.index.resize(static_cast<size_t>(from.width));
  std::iota(weights.index.begin(), weights.index.end(), 0);
  return MakeRearrange(std::move(weights));
}

absl::StatusOr<ValueId> AddPool(GraphBuilder& builder, ValueId in,
                                const LayerContext& context, Over over,
                                bool masked) {
  FFF_ASSIGN_OR_RETURN(const Sequence from, SequenceOf(builder.TypeOf(in)));
  if (over == Over::kFirst && from.tokens > 0 && !masked) {
    return builder.Add(FirstToken(from), in);
  }
  graph::PoolTokensProblem problem;
  problem.input_width = std::max(from.tokens, int64_t{1}) * from.width;
  problem.output_width = from.width;
  problem.tokens = from.tokens;
  problem.over = over;
  problem.masked = masked;
  std::vector<ValueId> inputs = {in};
  if (masked) {
    FFF_ASSIGN_OR_RETURN(const ValueId mask, MaskOf(context, "masked"));
    inputs.push_back(mask);
  }
  return builder.Add(
      graph::PoolTokens{{std::make_shared<const graph::PoolTokensWeights>(
          graph::PoolTokensWeights{problem})}},
      inputs);
}

}  // namespace

absl::StatusOr<Sequence> SequenceOf(const graph::ValueType& type) {
  const tensor::Shape shape = type.shape();
  if (type.per_token() && shape.size() == 1) return Sequence{0, shape[0]};
  if (!type.per_token() && shape.size() == 2) {
    return Sequence{shape[0], shape[1]};
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "got ", tensor::ToString(shape),
      type.per_token() ? " per token, wanted tokens of one dimension"
                       : ", wanted a sequence [tokens, width]"));
}

std::string ReadName(JsonFields& fields, const char* key) {
  return fields.String(key, checkpoint::kTensorNameBytesMax).value_or("");
}

absl::StatusOr<FloatArray> AllFloats(const std::string& name,
                                     TensorReader& reader) {
  FFF_ASSIGN_OR_RETURN(const tensor::Shape shape, reader.ShapeOf(name));
  return reader.Floats(name, shape);
}

absl::StatusOr<ValueId> MaskOf(const LayerContext& context,
                               absl::string_view key) {
  if (context.mask.has_value()) return *context.mask;
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", key,
      "\" is for networks with a mask, and no entry of \"input\" has \"role\": "
      "\"mask\""));
}

graph::Op MakeRearrange(graph::RearrangeWeights weights) {
  return graph::Rearrange{
      {std::make_shared<const graph::RearrangeWeights>(std::move(weights))}};
}

namespace {

// A trained vector in front of the sequence, of one length.
void ReadClassToken(JsonFields& fields, LayerConfig& config) {
  config.tensor = ReadName(fields, "tensor");
  if (!config.tensor.empty()) return;
  fields.errors().Add(fields.PathOf("tensor"),
                      "this key is missing: the tensor's name");
}

absl::StatusOr<LoadedLayer> LoadClassToken(const LayerConfig& config,
                                           TensorReader& reader) {
  FFF_ASSIGN_OR_RETURN(FloatArray token, AllFloats(config.tensor, reader));
  return FromSequence(
      config.type,
      [token = std::move(token), name = config.tensor](const Sequence& from) {
        return PrependToken(token, from, name);
      });
}

// One vector from all tokens, or, "masked", from those that the mask names.
void ReadPool(JsonFields& fields, LayerConfig& config) {
  const auto over =
      fields.OneOf<Over>("over", {{"mean", Over::kMean},
                                  {"first", Over::kFirst},
                                  {"max", Over::kMax},
                                  {"logsumexp", Over::kLogSumExp}});
  if (!over.has_value()) {
    fields.errors().Add(fields.PathOf("over"),
                        "this key is missing: what is taken over the tokens");
  }
  config.over = over.value_or(Over::kMean);
  config.masked = fields.Bool("masked").value_or(false);
}

absl::StatusOr<LoadedLayer> LoadPool(const LayerConfig& config,
                                     TensorReader& /*reader*/) {
  LoadedLayer loaded;
  loaded.layer.type = config.type;
  loaded.reshapes = true;
  loaded.add = [over = config.over, masked = config.masked](
                   GraphBuilder& builder, ValueId in,
                   const LayerContext& context) {
    return AddPool(builder, in, context, over, masked);
  };
  return loaded;
}

}  // namespace

absl::Span<const LayerType> SequenceLayers() {
  static constexpr LayerType kTypes[] = {
      {"class_token", false, true, ReadClassToken, LoadClassToken},
      {"pool", false, true, ReadPool, LoadPool},
  };
  return kTypes;
}

}  // namespace fff::importer
