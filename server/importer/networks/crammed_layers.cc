#include "server/importer/networks/crammed_layers.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace fff::importer {
namespace {

using checkpoint::Checkpoint;
using graph::Activation;
using Feedforward = CrammedArch::Feedforward;
using Positions = CrammedArch::Positions;

constexpr char kPositions[] = "encoder.embedding.pos_embedding.";
constexpr char kBlocks[] = "encoder.layers.";
constexpr char kFirstBlock[] = "encoder.layers.0.";
constexpr char kQkv[] = "attn.self_attention.query_key_value.";
constexpr double kEpsilon = 1e-12;
constexpr double kMaskValue = -10000;

LayerConfig Layer(const char* type, std::string prefix = "") {
  LayerConfig layer;
  layer.type = type;
  layer.prefix = std::move(prefix);
  return layer;
}

LayerConfig Linear(const char* prefix,
                   std::optional<Activation> activation = std::nullopt) {
  LayerConfig layer = Layer("linear", prefix);
  layer.activation = activation;
  return layer;
}

LayerConfig Residual(std::vector<LayerConfig> layers) {
  LayerConfig layer = Layer("residual");
  layer.layers = std::move(layers);
  return layer;
}

std::string Text(bool value) { return value ? "true" : "false"; }
std::string Text(int64_t value) { return absl::StrCat(value); }

// The layers of one checkpoint, part by part.
class Describer {
 public:
  Describer(const CrammedArch& arch, const Checkpoint& checkpoint)
      : arch_(arch), checkpoint_(checkpoint) {}

  absl::StatusOr<std::vector<LayerConfig>> Run(bool classifies) {
    FFF_ASSIGN_OR_RETURN(const tensor::Shape table,
                         ShapeOf(kCrammedEmbedding, 2));
    hidden_ = table[1];
    FFF_RETURN_IF_ERROR(
        Agree("hidden_size", arch_.hidden_size, hidden_, kCrammedEmbedding));
    FFF_RETURN_IF_ERROR(AddEmbedding());
    FFF_RETURN_IF_ERROR(AddBlocks());
    const bool norm = Has("encoder.final_norm.weight");
    FFF_RETURN_IF_ERROR(Agree("final_norm", arch_.final_norm, norm,
                              "encoder.final_norm.weight"));
    if (norm) layers_.push_back(Norm("encoder.final_norm."));
    FFF_RETURN_IF_ERROR(classifies ? AddClassifier() : AddDecoder());
    return std::move(layers_);
  }

 private:
  bool Has(absl::string_view name) const {
    return checkpoint_.Find(name) != nullptr;
  }

  absl::StatusOr<tensor::Shape> ShapeOf(const std::string& name,
                                        size_t rank) const {
    const checkpoint::NamedTensor* found = checkpoint_.Find(name);
    if (found == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(checkpoint_.source(), ": tensor \"", name,
                       "\" is missing, which a crammed BERT has"));
    }
    if (found->shape.size() == rank &&
        absl::c_all_of(found->shape, [](int64_t size) { return size > 0; })) {
      return found->shape;
    }
    return absl::InvalidArgumentError(absl::StrCat(
        checkpoint_.source(), ": tensor \"", name, "\": found shape ",
        tensor::ToString(found->shape), ", wanted ", rank, " dimensions"));
  }

  LayerConfig Norm(const char* prefix) const {
    LayerConfig layer = Layer("layer_norm", prefix);
    layer.epsilon = arch_.epsilon.value_or(kEpsilon);
    return layer;
  }

  // What a key says against what a tensor shows.
  template <class T>
  absl::Status Agree(absl::string_view key, const std::optional<T>& said,
                     T shown, absl::string_view tensor) const {
    if (said.value_or(shown) == shown) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(arch_.source, ": arch.", key, ": found ", Text(*said),
                     ", wanted ", Text(shown), ", as tensor \"", tensor,
                     "\" of ", checkpoint_.source(), " is or is not there"));
  }

  absl::Status Ask(absl::string_view key, absl::string_view example) const {
    return absl::InvalidArgumentError(
        absl::StrCat(checkpoint_.source(),
                     ": this is a crammed BERT, and no tensor tells arch.", key,
                     ", for example ", example,
                     "; say it in a config.json with \"model_type\": \"",
                     kCrammedBertType, "\" and \"arch\": {..}"));
  }

  absl::Status AddEmbedding() {
    layers_.push_back(Layer("embedding", "encoder.embedding.word_embedding."));
    FFF_RETURN_IF_ERROR(AddPositions());
    const bool norm = Has("encoder.embedding.norm.weight");
    if (norm) layers_.push_back(Norm("encoder.embedding.norm."));
    return Agree("embedding.normalization", arch_.embedding_norm, norm,
                 "encoder.embedding.norm.weight");
  }

  absl::Status AddPositions() {
    const std::string scale = absl::StrCat(kPositions, "scale_factor");
    const std::string table = absl::StrCat(kPositions, "embedding.weight");
    const std::optional<Positions>& said = arch_.positions;
    FFF_RETURN_IF_ERROR(AgreePositions(Positions::kScaledSinusoidal, scale));
    FFF_RETURN_IF_ERROR(AgreePositions(Positions::kLearned, table));
    LayerConfig layer = Layer("positions");
    if (Has(table)) {
      FFF_ASSIGN_OR_RETURN(const tensor::Shape shape, ShapeOf(table, 2));
      FFF_RETURN_IF_ERROR(
          Agree("embedding.max_seq_length", arch_.length, shape[0], table));
      if (shape[1] != hidden_) {
        return absl::InvalidArgumentError(absl::StrCat(
            checkpoint_.source(), ": tensor \"", table, "\": found shape ",
            tensor::ToString(shape), ", wanted [positions, ", hidden_, "]"));
      }
      layer.tensor = table;
      layers_.push_back(std::move(layer));
      return absl::OkStatus();
    }
    if (!Has(scale) && !said.has_value()) {
      return Ask("embedding.pos_embedding", "\"sinusoidal\"");
    }
    if (said == Positions::kNone) return absl::OkStatus();
    layer.sinusoidal = true;
    layer.length = arch_.length;
    if (Has(scale)) layer.scale_tensor = scale;
    layers_.push_back(std::move(layer));
    return absl::OkStatus();
  }

  // Positions of that kind, and they alone, have the tensor.
  absl::Status AgreePositions(Positions kind, const std::string& name) const {
    const std::optional<Positions>& said = arch_.positions;
    if (!said.has_value() || (said == kind) == Has(name)) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        absl::StrCat(arch_.source, ": arch.embedding.pos_embedding: it and ",
                     checkpoint_.source(), " differ: tensor \"", name, "\" is ",
                     Has(name) ? "there" : "missing"));
  }

  absl::Status AddBlocks() {
    int64_t count = 0;
    while (count <= kLayersMax &&
           Has(absl::StrCat(kBlocks, count, ".", kQkv, "weight"))) {
      ++count;
    }
    FFF_RETURN_IF_ERROR(Agree("num_transformer_layers", arch_.layers, count,
                              absl::StrCat(kBlocks, count, ".", kQkv)));
    if (count > kLayersMax) {
      return absl::InvalidArgumentError(
          absl::StrCat(checkpoint_.source(), ": found more than ", kLayersMax,
                       " layers, which is the most that are allowed"));
    }
    FFF_ASSIGN_OR_RETURN(LayerConfig attention, Attention());
    FFF_ASSIGN_OR_RETURN(std::vector<LayerConfig> feedforward,
                         FeedforwardLayers());
    feedforward.insert(feedforward.begin(), Norm("norm2."));
    LayerConfig repeat =
        Layer("repeat", absl::StrCat(kBlocks, kRepeatIndex, "."));
    repeat.count = count;
    repeat.layers = {Residual({Norm("norm1."), std::move(attention)}),
                     Residual(std::move(feedforward))};
    layers_.push_back(std::move(repeat));
    return absl::OkStatus();
  }

  // In the first block; the others have the same or fail when they are read.
  bool BlockHas(absl::string_view name) const {
    return Has(absl::StrCat(kFirstBlock, name));
  }

  absl::StatusOr<LayerConfig> Attention() const {
    LayerConfig layer = Layer("attention");
    FFF_ASSIGN_OR_RETURN(layer.heads, Heads());
    layer.qkv = {kQkv};
    layer.layout = graph::AttentionProblem::Layout::kHeads;
    layer.mask_value = kMaskValue;
    const bool out = BlockHas("attn.dense.weight");
    if (out) layer.out = "attn.dense.";
    FFF_RETURN_IF_ERROR(Agree("attention.skip_output_projection",
                              arch_.skip_output_projection, !out,
                              "encoder.layers.0.attn.dense.weight"));
    const std::string bias = absl::StrCat(kQkv, "bias");
    FFF_RETURN_IF_ERROR(Agree("attention.qkv_bias", arch_.qkv_bias,
                              BlockHas(bias), absl::StrCat(kFirstBlock, bias)));
    if (out) {
      FFF_RETURN_IF_ERROR(Agree("use_bias", arch_.use_bias,
                                BlockHas("attn.dense.bias"),
                                "encoder.layers.0.attn.dense.bias"));
    }
    return layer;
  }

  // By the buffer head_width^-0.5 where it was saved: the divisor of the width
  // that is nearest to what it says.
  absl::StatusOr<int64_t> Heads() const {
    const std::string name =
        absl::StrCat(kFirstBlock, "attn.self_attention.norm_factor");
    int64_t shown = 0;
    if (Has(name)) {
      FFF_ASSIGN_OR_RETURN(const tensor::FloatArray factor,
                           checkpoint_.Floats(name));
      const double width =
          factor.size() == 1 ? std::pow(double{factor[0]}, -2.0) : 0.0;
      double nearest = 0.02;  // saved as bf16 it is 0.8 % off
      for (int64_t heads = 1; heads <= hidden_; ++heads) {
        if (hidden_ % heads != 0) continue;
        const int64_t head_width = hidden_ / heads;
        const double off =
            std::abs(width / static_cast<double>(head_width) - 1);
        if (!(off < nearest)) continue;  // nor NaN
        nearest = off;
        shown = heads;
      }
    }
    if (shown == 0) {
      if (arch_.heads.has_value()) return *arch_.heads;
      return Ask("attention.num_attention_heads", "12");
    }
    FFF_RETURN_IF_ERROR(
        Agree("attention.num_attention_heads", arch_.heads, shown, name));
    return shown;
  }

  absl::StatusOr<std::vector<LayerConfig>> FeedforwardLayers() const {
    const bool fff = BlockHas("ffn.linear_in.weight");
    if (arch_.feedforward.has_value() &&
        (arch_.feedforward == Feedforward::kFff) != fff) {
      return absl::InvalidArgumentError(absl::StrCat(
          arch_.source, ": arch.intermed_type: found \"", fff ? "ff" : "fff",
          "\", but ", checkpoint_.source(), fff ? " has" : " has no",
          " tensor \"encoder.layers.0.ffn.linear_in.weight\""));
    }
    return fff ? FffLayers() : DenseLayers();
  }

  absl::StatusOr<std::vector<LayerConfig>> FffLayers() const {
    const std::string name = absl::StrCat(kFirstBlock, "ffn.linear_in.weight");
    FFF_ASSIGN_OR_RETURN(const tensor::Shape shape, ShapeOf(name, 2));
    if (arch_.intermed_size.has_value() && arch_.intermed_depth.has_value()) {
      const double rows = static_cast<double>(*arch_.intermed_size) *
                          (std::exp2(*arch_.intermed_depth + 1) - 1);
      if (rows != static_cast<double>(shape[0])) {
        return absl::InvalidArgumentError(absl::StrCat(
            arch_.source, ": arch.intermed_depth: found ",
            *arch_.intermed_depth, ", which with arch.intermed_size ",
            *arch_.intermed_size, " makes ", rows, " nodes, but tensor \"",
            name, "\" has ", shape[0], " rows"));
      }
    }
    LayerConfig layer = Layer("fff", "ffn.");
    layer.convention = "ultrafastbert";
    layer.trees = arch_.intermed_size;
    layer.activation = arch_.activation;
    return std::vector<LayerConfig>{std::move(layer)};
  }

  absl::StatusOr<std::vector<LayerConfig>> DenseLayers() const {
    const std::string in = absl::StrCat(kFirstBlock, "ffn.dense_in.weight");
    const std::string out = absl::StrCat(kFirstBlock, "ffn.dense_out.weight");
    FFF_ASSIGN_OR_RETURN(const tensor::Shape wide, ShapeOf(in, 2));
    FFF_ASSIGN_OR_RETURN(const tensor::Shape narrow, ShapeOf(out, 2));
    if (narrow[1] != wide[0]) {
      return absl::InvalidArgumentError(absl::StrCat(
          checkpoint_.source(), ": tensor \"", out, "\": found ", narrow[1],
          " columns, wanted the ", wide[0], " rows of \"", in,
          "\"; gated activations (arch.nonlin \"GELUglu\") are not served"));
    }
    FFF_RETURN_IF_ERROR(
        Agree("intermed_size", arch_.intermed_size, wide[0], in));
    if (!arch_.activation.has_value()) return Ask("nonlin", "\"GELU\"");
    FFF_RETURN_IF_ERROR(Agree("use_bias", arch_.use_bias,
                              BlockHas("ffn.dense_in.bias"),
                              "encoder.layers.0.ffn.dense_in.bias"));
    return std::vector<LayerConfig>{Linear("ffn.dense_in.", arch_.activation),
                                    Linear("ffn.dense_out.")};
  }

  absl::Status AddDecoder() {
    const bool transform = Has("prediction_head.dense.weight");
    FFF_RETURN_IF_ERROR(Agree("skip_head_transform", arch_.skip_head_transform,
                              !transform, "prediction_head.dense.weight"));
    FFF_RETURN_IF_ERROR(Agree("decoder_bias", arch_.decoder_bias,
                              Has("decoder.bias"), "decoder.bias"));
    if (transform) {
      if (!arch_.activation.has_value()) return Ask("nonlin", "\"GELU\"");
      layers_.push_back(Linear("prediction_head.dense.", arch_.activation));
      layers_.push_back(Norm("prediction_head.norm."));
    }
    layers_.push_back(Linear("decoder."));
    return absl::OkStatus();
  }

  absl::Status AddClassifier() {
    const std::string key = "classification_head.";
    if (!arch_.pooler.has_value()) {
      return Ask(absl::StrCat(key, "pooler"), "\"avg\"");
    }
    if (!arch_.head_activation.has_value()) {
      return Ask(absl::StrCat(key, "nonlin"), "\"Tanh\"");
    }
    const bool dense = Has("pooler.dense.weight");
    FFF_RETURN_IF_ERROR(Agree(absl::StrCat(key, "include_ff_layer"),
                              arch_.include_ff_layer, dense,
                              "pooler.dense.weight"));
    LayerConfig pool = Layer("pool");
    pool.over = *arch_.pooler;
    layers_.push_back(std::move(pool));
    LayerConfig activation = Layer("activation");
    activation.activation = arch_.head_activation;
    layers_.push_back(dense ? Linear("pooler.dense.", arch_.head_activation)
                            : std::move(activation));
    layers_.push_back(Linear("head."));
    return absl::OkStatus();
  }

  const CrammedArch& arch_;
  const Checkpoint& checkpoint_;
  int64_t hidden_ = 0;
  std::vector<LayerConfig> layers_;
};

}  // namespace

absl::StatusOr<std::vector<LayerConfig>> CrammedLayers(
    const CrammedArch& arch, const Checkpoint& checkpoint, bool classifies) {
  return Describer(arch, checkpoint).Run(classifies);
}

}  // namespace fff::importer
