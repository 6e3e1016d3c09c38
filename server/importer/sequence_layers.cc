#include "server/importer/sequence_layers.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/checkpoint.h"

namespace fff::importer {
namespace {

using graph::GraphBuilder;
using graph::ValueId;
using Over = graph::PoolTokensProblem::Over;
using tensor::FloatArray;
using tensor::FloatBuffer;

std::string ReadName(JsonFields& fields, const char* key) {
  return fields.String(key, checkpoint::kTensorNameBytesMax).value_or("");
}

void RequireTensor(JsonFields& fields, const LayerConfig& config) {
  if (!config.tensor.empty()) return;
  fields.errors().Add(fields.PathOf("tensor"),
                      "this key is missing: the tensor's name");
}

// All elements of a tensor of any rank.
absl::StatusOr<FloatArray> AllFloats(const std::string& name,
                                     TensorReader& reader) {
  FFF_ASSIGN_OR_RETURN(const tensor::Shape shape, reader.ShapeOf(name));
  return reader.Floats(name, shape);
}

// One op whose problem follows from the sequence that reaches it.
template <class Make>
LoadedLayer FromSequence(std::string type, Make make) {
  LoadedLayer loaded;
  loaded.layer.type = std::move(type);
  loaded.reshapes = true;
  loaded.add = [make = std::move(make)](GraphBuilder& builder,
                                        ValueId in) -> absl::StatusOr<ValueId> {
    FFF_ASSIGN_OR_RETURN(const Sequence from, SequenceOf(builder.TypeOf(in)));
    FFF_ASSIGN_OR_RETURN(graph::Op op, make(from));
    return builder.Add(std::move(op), in);
  };
  return loaded;
}

graph::Op MakeRearrange(graph::RearrangeWeights weights) {
  return graph::Rearrange{
      {std::make_shared<const graph::RearrangeWeights>(std::move(weights))}};
}

absl::StatusOr<graph::Op> PrependToken(const FloatArray& token,
                                       const Sequence& from,
                                       const std::string& name) {
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

// sin and cos in turn, of wave lengths from 2 pi to 10000 * 2 pi.
FloatArray Sines(const Sequence& sequence, double scale) {
  FloatBuffer table(sequence.tokens * sequence.width);
  for (int64_t t = 0; t < sequence.tokens; ++t) {
    for (int64_t i = 0; i < sequence.width; ++i) {
      const double exponent =
          static_cast<double>(i - i % 2) / static_cast<double>(sequence.width);
      const double angle =
          static_cast<double>(t) * std::pow(10000.0, -exponent);
      table.data()[t * sequence.width + i] = static_cast<float>(
          scale * (i % 2 == 0 ? std::sin(angle) : std::cos(angle)));
    }
  }
  return std::move(table).Freeze();
}

graph::Op AddTable(FloatArray table, const Sequence& sequence) {
  graph::RearrangeWeights weights;
  weights.problem = {
      table.size(),    table.size(),     {sequence.tokens, sequence.width},
      /*moves=*/false,
      /*adds=*/true,   "positions added"};
  weights.addend = std::move(table);
  return MakeRearrange(std::move(weights));
}

// The first tokens' rows of a table [positions, width], each times `scale`.
absl::StatusOr<graph::Op> AddLearned(const FloatArray& table, double scale,
                                     const Sequence& sequence,
                                     const std::string& name) {
  const int64_t wanted = sequence.tokens * sequence.width;
  if (table.size() % sequence.width != 0 || table.size() < wanted) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor \"", name, "\": found ", table.size(), " elements, wanted ",
        wanted, " or more, ", sequence.width, " per position"));
  }
  FloatBuffer rows(wanted);
  for (int64_t i = 0; i < wanted; ++i) {
    rows.data()[i] = static_cast<float>(scale * double{table[i]});
  }
  return AddTable(std::move(rows).Freeze(), sequence);
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

}  // namespace

absl::StatusOr<Sequence> SequenceOf(const graph::ValueType& type) {
  const tensor::Shape shape = type.shape();
  if (shape.size() == 2) return Sequence{shape[0], shape[1]};
  return absl::InvalidArgumentError(absl::StrCat(
      "got ", tensor::ToString(shape), ", wanted a sequence [tokens, width]"));
}

void ReadClassToken(JsonFields& fields, LayerConfig& config) {
  config.tensor = ReadName(fields, "tensor");
  RequireTensor(fields, config);
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

void ReadPositions(JsonFields& fields, LayerConfig& config) {
  const auto sinusoidal =
      fields.OneOf<bool>("kind", {{"learned", false}, {"sinusoidal", true}});
  config.sinusoidal = sinusoidal.value_or(false);
  config.tensor = ReadName(fields, "tensor");
  config.scale_tensor = ReadName(fields, "scale");
  const std::string prefix = ReadName(fields, "prefix");
  if (!sinusoidal.has_value()) {
    fields.errors().Add(fields.PathOf("kind"),
                        "this key is missing: \"learned\" or \"sinusoidal\"");
  }
  if (config.sinusoidal) {
    if (!config.tensor.empty() || !prefix.empty()) {
      fields.errors().Add(fields.PathOf("kind"),
                          "sinusoidal positions have no tensor");
    }
    return;
  }
  if (config.tensor.empty() && !prefix.empty()) {
    config.tensor = absl::StrCat(prefix, "weight");  // torch.nn.Embedding
  }
  RequireTensor(fields, config);
}

absl::StatusOr<LoadedLayer> LoadPositions(const LayerConfig& config,
                                          TensorReader& reader) {
  double scale = 1;
  if (!config.scale_tensor.empty()) {
    FFF_ASSIGN_OR_RETURN(scale, reader.Scalar(config.scale_tensor));
  }
  if (config.sinusoidal) {
    return FromSequence(
        config.type,
        [scale](const Sequence& from) -> absl::StatusOr<graph::Op> {
          return AddTable(Sines(from, scale), from);
        });
  }
  FFF_ASSIGN_OR_RETURN(FloatArray table, AllFloats(config.tensor, reader));
  return FromSequence(config.type,
                      [table = std::move(table), scale,
                       name = config.tensor](const Sequence& from) {
                        return AddLearned(table, scale, from, name);
                      });
}

void ReadPool(JsonFields& fields, LayerConfig& config) {
  struct Choice {
    Over over;
    bool first;
  };
  const auto choice =
      fields.OneOf<Choice>("over", {{"mean", {Over::kMean, false}},
                                    {"first", {Over::kMean, true}},
                                    {"max", {Over::kMax, false}},
                                    {"logsumexp", {Over::kLogSumExp, false}}});
  if (!choice.has_value()) {
    fields.errors().Add(fields.PathOf("over"),
                        "this key is missing: what is taken over the tokens");
    return;
  }
  config.over = choice->over;
  config.first = choice->first;
}

absl::StatusOr<LoadedLayer> LoadPool(const LayerConfig& config,
                                     TensorReader& /*reader*/) {
  if (config.first) {
    return FromSequence(config.type,
                        [](const Sequence& from) -> absl::StatusOr<graph::Op> {
                          return FirstToken(from);
                        });
  }
  return FromSequence(
      config.type,
      [over = config.over](const Sequence& from) -> absl::StatusOr<graph::Op> {
        return graph::PoolTokens{
            {std::make_shared<const graph::PoolTokensWeights>(
                graph::PoolTokensWeights{{from.tokens * from.width, from.width,
                                          from.tokens, over}})}};
      });
}

}  // namespace fff::importer
