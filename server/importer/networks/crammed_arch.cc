#include "server/importer/networks/crammed_arch.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/importer/json_fields.h"
#include "server/importer/layer_config.h"
#include "server/importer/strict_json.h"

namespace fff::importer {
namespace {

using graph::Activation;
using nlohmann::json;
using Over = graph::PoolTokensProblem::Over;
using Positions = CrammedArch::Positions;

constexpr IntegerRange kWidths = {1, graph::kWidthMax};
constexpr IntegerRange kDepths = {0, 62};
constexpr IntegerRange kHeads = {1, 4096};
constexpr size_t kTextBytesMax = 1024;
constexpr int64_t kArchitecturesMax = 64;
constexpr size_t kLabelsMax = 65536;

// Null says nothing.
json WithoutNulls(const json& value) {
  if (!value.is_object()) return value;
  json kept = json::object();
  for (const auto& item : value.items()) {
    if (!item.value().is_null()) kept[item.key()] = WithoutNulls(item.value());
  }
  return kept;
}

// torch.nn's names.
std::optional<Activation> ReadNonlin(JsonFields& fields) {
  return fields.OneOf<Activation>("nonlin",
                                  {{"GELU", Activation::kGelu},
                                   {"ReLU", Activation::kRelu},
                                   {"SiLU", Activation::kSilu},
                                   {"Tanh", Activation::kTanh},
                                   {"Sigmoid", Activation::kSigmoid},
                                   {"Identity", Activation::kIdentity}});
}

void RequireFalse(JsonFields& fields, const char* key) {
  const json* value = fields.Find(key);
  if (value == nullptr || *value == json(false)) return;
  fields.errors().Add(fields.PathOf(key),
                      absl::StrCat("found ", DescribeJson(*value),
                                   ", wanted false: it is not served"));
}

void ReadEmbedding(JsonFields& fields, CrammedArch& arch) {
  const auto positions = fields.OneOf<Positions>(
      "pos_embedding", {{"learned", Positions::kLearned},
                        {"sinusoidal", Positions::kSinusoidal},
                        {"scaled-sinusoidal", Positions::kScaledSinusoidal}});
  if (positions.has_value()) arch.positions = positions;
  arch.length = fields.Integer("max_seq_length", {1, graph::kTokensMax});
  arch.embedding_norm = fields.Bool("normalization");
}

void ReadAttention(JsonFields& fields, CrammedArch& arch) {
  fields.Choice("type", {"self-attention"});
  fields.Choice("sequence_op", {"torch-softmax"});
  RequireFalse(fields, "rotary_embedding");
  // The public code applies it only where a mask is given.
  RequireFalse(fields, "causal_attention");
  arch.heads = fields.Integer("num_attention_heads", kHeads);
  arch.qkv_bias = fields.Bool("qkv_bias");
  arch.skip_output_projection = fields.Bool("skip_output_projection");
}

void ReadClassificationHead(JsonFields& fields, CrammedArch& arch) {
  arch.pooler = fields.OneOf<Over>("pooler", {{"avg", Over::kMean},
                                              {"zero_index", Over::kFirst},
                                              {"max", Over::kMax},
                                              {"lse", Over::kLogSumExp}});
  arch.include_ff_layer = fields.Bool("include_ff_layer");
  arch.head_activation = ReadNonlin(fields);
}

void ReadBlocks(JsonFields& fields, CrammedArch& arch) {
  using Feedforward = CrammedArch::Feedforward;
  arch.layers = fields.Integer("num_transformer_layers", {1, kLayersMax});
  arch.hidden_size = fields.Integer("hidden_size", kWidths);
  arch.feedforward = fields.OneOf<Feedforward>(
      "intermed_type",
      {{"ff", Feedforward::kDense}, {"fff", Feedforward::kFff}});
  arch.intermed_size = fields.Integer("intermed_size", kWidths);
  arch.intermed_depth = fields.Integer("intermed_depth", kDepths);
  fields.Integer("ffn_layer_frequency", {1, 1});
  fields.Choice("norm", {"LayerNorm", "ApexLayerNorm"});
  fields.Choice("norm_scheme", {"pre"});
  arch.epsilon = fields.PositiveNumber("norm_eps", kEpsilonMax);
  arch.activation = ReadNonlin(fields);
  arch.decoder_bias = fields.Bool("decoder_bias");
  arch.use_bias = fields.Bool("use_bias");
  arch.final_norm = fields.Bool("final_norm");
  arch.skip_head_transform = fields.Bool("skip_head_transform");
}

// A part of "arch" that is an object of its own.
void ReadPart(JsonFields& fields, const char* key, CrammedArch& arch,
              void (*read)(JsonFields& fields, CrammedArch& arch)) {
  const json* value = fields.Find(key);
  if (value == nullptr) return;
  JsonFields part(*value, fields.PathOf(key), fields.errors());
  read(part, arch);
}

void ReadArch(const json& value, JsonErrors& errors, CrammedArch& arch) {
  const json said = WithoutNulls(value);
  JsonFields fields(said, "arch", errors);
  const json* embedding = value.is_object() && value.contains("embedding")
                              ? &value["embedding"]
                              : nullptr;
  if (embedding != nullptr && embedding->is_object() &&
      embedding->contains("pos_embedding") &&
      (*embedding)["pos_embedding"].is_null()) {
    arch.positions = Positions::kNone;
  }
  ReadBlocks(fields, arch);
  ReadPart(fields, "embedding", arch, ReadEmbedding);
  ReadPart(fields, "attention", arch, ReadAttention);
  ReadPart(fields, "classification_head", arch, ReadClassificationHead);
}

// The public code's class names.
void ReadArchitectures(JsonFields& fields, CrammedArch& arch) {
  const auto names =
      fields.Strings("architectures", {0, kArchitecturesMax}, kTextBytesMax);
  if (!names.has_value()) return;
  for (const std::string& name : *names) {
    if (absl::EndsWith(name, "ForSequenceClassification")) {
      arch.classifies = true;
    } else if (absl::EndsWith(name, "ForPreTraining") ||
               absl::EndsWith(name, "ForSCRIPTTraining")) {
      arch.classifies = false;
    } else if (absl::EndsWith(name, "ForTokenClassification")) {
      fields.errors().Add(
          fields.PathOf("architectures"),
          absl::StrCat("found \"", base::Printable(name),
                       "\", wanted a masked-language model or a sequence "
                       "classifier"));
    }
  }
}

// {"0": "negative", "1": "positive"}
void ReadLabels(JsonFields& fields, CrammedArch& arch) {
  const json* value = fields.Find("id2label");
  if (value == nullptr || value->is_null()) return;
  JsonFields labels(*value, "id2label", fields.errors());
  for (size_t i = 0; i < value->size() && i < kLabelsMax; ++i) {
    auto label = labels.String(absl::StrCat(i).c_str(), kTextBytesMax);
    if (!label.has_value()) {
      arch.labels.clear();
      return;
    }
    arch.labels.push_back(*std::move(label));
  }
}

}  // namespace

CrammedArch ReadCrammedArch(JsonFields& fields) {
  CrammedArch arch;
  arch.source = fields.errors().source();
  fields.Choice("model_type", {kCrammedBertType});
  if (const json* value = fields.Find("arch")) {
    ReadArch(*value, fields.errors(), arch);
  }
  ReadArchitectures(fields, arch);
  ReadLabels(fields, arch);
  return arch;
}

absl::StatusOr<std::optional<CrammedArch>> ParseCrammedArch(
    absl::string_view text, const std::string& source) {
  FFF_ASSIGN_OR_RETURN(const json document, ParseStrictJson(text, source));
  if (!document.is_object() || !document.contains("model_type") ||
      document["model_type"] != json(kCrammedBertType)) {
    return std::nullopt;
  }
  JsonErrors errors(source);
  JsonFields fields(document, "", errors);
  CrammedArch arch = ReadCrammedArch(fields);
  FFF_RETURN_IF_ERROR(errors.status());
  return std::make_optional(std::move(arch));
}

}  // namespace fff::importer
