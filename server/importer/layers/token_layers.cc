// What makes tokens of ids and tells where they stand.
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/checkpoint.h"
#include "server/importer/dense_weights.h"
#include "server/importer/layers/layer_type.h"
#include "server/importer/layers/sequence.h"

namespace fff::importer {
namespace {

using tensor::FloatArray;
using tensor::FloatBuffer;

constexpr IntegerRange kLengths = {1, graph::kTokensMax};
// Of a table of sines, which no file bounds.
constexpr int64_t kTableElementsMax = int64_t{1} << 28;

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

// The first `count` elements of a table, each times `scale`.
FloatArray Scaled(const FloatArray& table, int64_t count, double scale) {
  if (scale == 1 && count == table.size()) return table;
  FloatBuffer rows(count);
  for (int64_t i = 0; i < count; ++i) {
    rows.data()[i] = static_cast<float>(scale * double{table[i]});
  }
  return std::move(rows).Freeze();
}

// A table [places.tokens, places.width] added to `from`.
graph::Op AddTable(FloatArray table, const Sequence& places,
                   const Sequence& from) {
  if (from.tokens == 0) {
    graph::PositionsWeights weights;
    weights.problem = {places.width, places.width, places.tokens};
    weights.table = std::move(table);
    return graph::Positions{
        {std::make_shared<const graph::PositionsWeights>(std::move(weights))}};
  }
  graph::RearrangeWeights weights;
  weights.problem = {table.size(),    table.size(),  {from.tokens, from.width},
                     /*moves=*/false, /*adds=*/true, "positions added"};
  weights.addend = std::move(table);
  return MakeRearrange(std::move(weights));
}

absl::StatusOr<graph::Op> AddSines(const LayerConfig& config, double scale,
                                   const Sequence& from) {
  Sequence places = from;
  if (from.tokens == 0) {
    places.tokens = config.length.value_or(kPositionsDefault);
  } else if (from.tokens > config.length.value_or(from.tokens)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"length\": found ", *config.length,
                     ", but the sequence has ", from.tokens, " tokens"));
  }
  if (places.tokens > kTableElementsMax / places.width) {
    return absl::InvalidArgumentError(absl::StrCat(
        "got a table of ", places.tokens, " positions of ", places.width,
        ", wanted at most ", kTableElementsMax, " elements"));
  }
  return AddTable(Sines(places, scale), places, from);
}

// Rows of a table [positions, width], each times `scale`: the first tokens',
// or, for sequences of any length, all.
absl::StatusOr<graph::Op> AddLearned(const FloatArray& table, double scale,
                                     const Sequence& from,
                                     const std::string& name) {
  const int64_t tokens = std::max(from.tokens, int64_t{1});
  if (table.size() % from.width != 0 || table.size() < tokens * from.width) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor \"", name, "\": found ", table.size(), " elements, wanted ",
        tokens * from.width, " or more, ", from.width, " per position"));
  }
  Sequence places = from;
  if (from.tokens == 0) places.tokens = table.size() / from.width;
  return AddTable(Scaled(table, places.tokens * places.width, scale), places,
                  from);
}

// A row of a table per id.
void ReadEmbedding(JsonFields& fields, LayerConfig& config) {
  config.prefix = ReadName(fields, "prefix");
}

// torch.nn.Embedding: weight [vocabulary, width].
absl::StatusOr<LoadedLayer> LoadEmbedding(const LayerConfig& config,
                                          TensorReader& reader) {
  const std::string weight = absl::StrCat(config.prefix, "weight");
  FFF_ASSIGN_OR_RETURN(const tensor::Shape shape,
                       WidthsOf(weight, 2, "[vocabulary, width]", reader));
  graph::EmbeddingWeights weights;
  weights.problem = {1, shape[1], shape[0]};
  FFF_ASSIGN_OR_RETURN(weights.table, reader.Floats(weight, shape));
  LoadedLayer loaded =
      OneOp(config.type, 0,
            graph::Embedding{{std::make_shared<const graph::EmbeddingWeights>(
                std::move(weights))}});
  loaded.reshapes = true;
  return loaded;
}

// A vector per position, trained or of sines (arXiv 1706.03762, 3.5), added.
void ReadPositions(JsonFields& fields, LayerConfig& config) {
  const auto sinusoidal =
      fields.OneOf<bool>("kind", {{"learned", false}, {"sinusoidal", true}});
  config.sinusoidal = sinusoidal.value_or(false);
  config.tensor = ReadName(fields, "tensor");
  config.scale_tensor = ReadName(fields, "scale");
  const std::string prefix = ReadName(fields, "prefix");
  config.length = fields.Integer("length", kLengths);
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
  if (config.length.has_value()) {
    fields.errors().Add(fields.PathOf("length"),
                        "is for \"kind\": \"sinusoidal\" alone; a learned "
                        "table has a length");
  }
  if (config.tensor.empty() && !prefix.empty()) {
    config.tensor = absl::StrCat(prefix, "weight");  // torch.nn.Embedding
  }
  if (config.tensor.empty()) {
    fields.errors().Add(fields.PathOf("tensor"),
                        "this key is missing: the tensor's name");
  }
}

absl::StatusOr<LoadedLayer> LoadPositions(const LayerConfig& config,
                                          TensorReader& reader) {
  double scale = 1;
  if (!config.scale_tensor.empty()) {
    FFF_ASSIGN_OR_RETURN(scale, reader.Scalar(config.scale_tensor));
  }
  if (config.sinusoidal) {
    return FromSequence(config.type, [config, scale](const Sequence& from) {
      return AddSines(config, scale, from);
    });
  }
  FFF_ASSIGN_OR_RETURN(FloatArray table, AllFloats(config.tensor, reader));
  return FromSequence(config.type,
                      [table = std::move(table), scale,
                       name = config.tensor](const Sequence& from) {
                        return AddLearned(table, scale, from, name);
                      });
}

}  // namespace

absl::Span<const LayerType> TokenLayers() {
  static constexpr LayerType kTypes[] = {
      {"embedding", true, true, ReadEmbedding, LoadEmbedding},
      {"positions", false, true, ReadPositions, LoadPositions},
  };
  return kTypes;
}

}  // namespace fff::importer
