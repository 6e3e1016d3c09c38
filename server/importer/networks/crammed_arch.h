#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/graph/problem.h"
#include "server/graph/sequence_ops.h"

namespace fff::importer {

class JsonFields;

inline constexpr char kCrammedBertType[] = "crammedBERT";

// What Hugging Face's config.json of a crammed BERT says
// (github.com/pbelcak/UltraFastBERT, training/cramming/config/arch): the key
// "arch", beside "model_type": "crammedBERT". Every key may be left out where
// the tensors say the same; null is as if left out, but for pos_embedding.
struct CrammedArch {
  enum class Positions { kNone, kLearned, kSinusoidal, kScaledSinusoidal };
  enum class Feedforward { kDense, kFff };

  std::string source;             // the file, for messages; "" = there is none
  std::optional<int64_t> layers;  // num_transformer_layers
  std::optional<int64_t> hidden_size;           // hidden_size
  std::optional<Feedforward> feedforward;       // intermed_type
  std::optional<int64_t> intermed_size;         // neurons, or trees
  std::optional<int64_t> intermed_depth;        // of trees: levels - 1
  std::optional<double> epsilon;                // norm_eps
  std::optional<graph::Activation> activation;  // nonlin
  std::optional<bool> decoder_bias;
  std::optional<bool> use_bias;
  std::optional<bool> final_norm;
  std::optional<bool> skip_head_transform;
  std::optional<Positions> positions;          // embedding.pos_embedding
  std::optional<int64_t> length;               // embedding.max_seq_length
  std::optional<bool> embedding_norm;          // embedding.normalization
  std::optional<int64_t> heads;                // attention.num_attention_heads
  std::optional<bool> qkv_bias;                // attention.
  std::optional<bool> skip_output_projection;  // attention.
  std::optional<graph::PoolTokensProblem::Over> pooler;  // classification_head.
  std::optional<bool> include_ff_layer;                  // classification_head.
  std::optional<graph::Activation>
      head_activation;              // classification_head.nonlin
  std::optional<bool> classifies;   // by "architectures", beside "arch"
  std::vector<std::string> labels;  // id2label, beside "arch"
};

// Reads such a document, "model_type" included. What is not served (rotary
// embeddings, causal attention, gated activations, other norms) is an error
// that names the key. Keys that mean nothing for inference are not looked at.
CrammedArch ReadCrammedArch(JsonFields& fields);

// The config.json of a version directory: nothing where its "model_type" is
// another one or missing. INVALID_ARGUMENT messages name `source`.
absl::StatusOr<std::optional<CrammedArch>> ParseCrammedArch(
    absl::string_view text, const std::string& source);

}  // namespace fff::importer
