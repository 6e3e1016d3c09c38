// Hugging Face's config.json of a crammed BERT.
#include "server/importer/networks/crammed_arch.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/importer/model_config.h"

namespace fff::importer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Over = graph::PoolTokensProblem::Over;

std::string Document(const std::string& arch, const std::string& more = "") {
  return absl::StrCat(R"({"model_type": "crammedBERT", "arch": )", arch, more,
                      "}");
}

CrammedArch Parsed(const std::string& json) {
  const auto arch = ParseCrammedArch(json, "1/config.json");
  EXPECT_TRUE(arch.ok()) << arch.status();
  if (!arch.ok() || !arch->has_value()) return {};
  return **arch;
}

TEST(CrammedArchTest, OtherModelTypesAreNoCrammedBert) {
  for (const char* json :
       {"{}", "[]", "3", R"({"model_type": "bert"})", R"({"model_type": 3})",
        R"({"layers": [{"type": "fff"}]})"}) {
    const auto arch = ParseCrammedArch(json, "1/config.json");
    ASSERT_TRUE(arch.ok()) << arch.status();
    EXPECT_FALSE(arch->has_value()) << json;
  }
  const auto broken = ParseCrammedArch("{", "1/config.json");
  EXPECT_THAT(std::string(broken.status().message()),
              HasSubstr("1/config.json: not valid JSON"));
}

TEST(CrammedArchTest, ReadsWhatInferenceNeeds) {
  const CrammedArch arch = Parsed(Document(
      R"({"num_transformer_layers": 16, "intermed_type": "fff",
          "hidden_size": 768, "intermed_size": 1, "intermed_depth": 11,
          "hidden_dropout_prob": 0.1, "norm": "LayerNorm", "norm_eps": 1e-12,
          "norm_scheme": "pre", "nonlin": "GELU", "tie_weights": true,
          "decoder_bias": false, "skip_head_transform": true,
          "use_bias": false, "final_norm": true, "num_labels": null,
          "ffn_layer_frequency": 1,
          "embedding": {"vocab_size": 32768, "pos_embedding": "learned",
                        "max_seq_length": 128, "normalization": true},
          "attention": {"type": "self-attention", "causal_attention": false,
                        "num_attention_heads": 12, "qkv_bias": true,
                        "skip_output_projection": false,
                        "rotary_embedding": false,
                        "sequence_op": "torch-softmax"},
          "classification_head": {"pooler": "lse", "include_ff_layer": true,
                                  "head_dim": 1024, "nonlin": "Tanh"}})",
      R"(, "torch_dtype": "float32", "architectures":
          ["ScriptableLMForSequenceClassification"],
          "id2label": {"0": "no", "1": "yes"})"));
  EXPECT_EQ(arch.source, "1/config.json");
  EXPECT_EQ(arch.layers, 16);
  EXPECT_EQ(arch.feedforward, CrammedArch::Feedforward::kFff);
  EXPECT_EQ(arch.intermed_depth, 11);
  EXPECT_EQ(arch.epsilon, 1e-12);
  EXPECT_EQ(arch.activation, graph::Activation::kGelu);
  EXPECT_EQ(arch.positions, CrammedArch::Positions::kLearned);
  EXPECT_EQ(arch.length, 128);
  EXPECT_EQ(arch.heads, 12);
  EXPECT_EQ(arch.qkv_bias, true);
  EXPECT_EQ(arch.pooler, Over::kLogSumExp);
  EXPECT_EQ(arch.head_activation, graph::Activation::kTanh);
  EXPECT_EQ(arch.classifies, true);
  EXPECT_THAT(arch.labels, ElementsAre("no", "yes"));
}

TEST(CrammedArchTest, NullSaysNothingButOfPositions) {
  const CrammedArch arch = Parsed(Document(
      R"({"nonlin": null, "use_bias": null,
          "embedding": {"pos_embedding": null, "max_seq_length": null}})",
      R"(, "id2label": null)"));
  EXPECT_EQ(arch.activation, std::nullopt);
  EXPECT_EQ(arch.use_bias, std::nullopt);
  EXPECT_EQ(arch.length, std::nullopt);
  EXPECT_EQ(arch.positions, CrammedArch::Positions::kNone);
  EXPECT_EQ(Parsed(Document("{}")).positions, std::nullopt);
}

TEST(CrammedArchTest, LabelsWithGapsAreNone) {
  EXPECT_THAT(
      Parsed(Document("{}", R"(, "id2label": {"0": "a", "2": "b"})")).labels,
      IsEmpty());
}

TEST(CrammedArchTest, TheModelsOwnConfigMaySayItBesideOtherKeys) {
  const auto config = ParseModelConfig(
      Document(R"({"nonlin": "GELU"})",
               R"(, "transformers_version": "4.49.0", "device": "cpu",
                  "batching": {"max_batch_tokens": 512})"),
      "config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_TRUE(config->crammed_bert.has_value());
  EXPECT_EQ(config->crammed_bert->activation, graph::Activation::kGelu);
  EXPECT_EQ(config->batching.max_batch_tokens, 512);
  EXPECT_EQ(config->device, DeviceChoice::kCpu);
  EXPECT_THAT(config->layers, IsEmpty());
}

struct Bad {
  std::string json;
  std::string message;
};

TEST(CrammedArchTest, TheModelsOwnConfigMustNotSayItTwice) {
  const Bad cases[] = {
      {R"({"model_type": "bert"})",
       "model_type: found the string \"bert\", wanted one of \"crammedBERT\""},
      {R"({"model_type": "crammedBERT", "layers": [{"type": "fff"}]})",
       "layers: found beside \"model_type\""},
      {R"({"model_type": "crammedBERT", "input": {"shape": [3]}})",
       "input: found beside \"model_type\""},
  };
  for (const Bad& bad : cases) {
    const auto config = ParseModelConfig(bad.json, "config.json");
    ASSERT_FALSE(config.ok()) << bad.json;
    EXPECT_THAT(std::string(config.status().message()),
                HasSubstr("config.json: " + bad.message));
  }
}

TEST(CrammedArchTest, RefusesWhatIsNotServedByItsKey) {
  const Bad cases[] = {
      {"[]", "arch: found an array of 0, wanted an object"},
      {R"({"norm": "RMSNorm"})", "arch.norm: found the string \"RMSNorm\""},
      {R"({"norm_scheme": "post"})", "arch.norm_scheme"},
      {R"({"norm_eps": 0})", "arch.norm_eps"},
      {R"({"nonlin": "GELUglu"})",
       "arch.nonlin: found the string \"GELUglu\", wanted one of \"GELU\""},
      {R"({"intermed_type": "moe"})", "arch.intermed_type"},
      {R"({"ffn_layer_frequency": 2})", "arch.ffn_layer_frequency"},
      {R"({"num_transformer_layers": 257})", "arch.num_transformer_layers"},
      {R"({"embedding": 3})", "arch.embedding: found the number 3"},
      {R"({"embedding": {"pos_embedding": "abacus"}})",
       "arch.embedding.pos_embedding: found the string \"abacus\""},
      {R"({"embedding": {"max_seq_length": 65537}})",
       "arch.embedding.max_seq_length"},
      {R"({"attention": {"type": "fourier"}})", "arch.attention.type"},
      {R"({"attention": {"rotary_embedding": true}})",
       "arch.attention.rotary_embedding: found true, wanted false"},
      {R"({"attention": {"rotary_embedding": "llama"}})",
       "arch.attention.rotary_embedding: found the string \"llama\""},
      {R"({"attention": {"causal_attention": true}})",
       "arch.attention.causal_attention: found true, wanted false"},
      {R"({"attention": {"sequence_op": "torch-relu"}})",
       "arch.attention.sequence_op"},
      {R"({"classification_head": {"pooler": "attn"}})",
       "arch.classification_head.pooler: found the string \"attn\""},
  };
  for (const Bad& bad : cases) {
    const auto arch = ParseCrammedArch(Document(bad.json), "1/config.json");
    ASSERT_FALSE(arch.ok()) << bad.json;
    EXPECT_THAT(std::string(arch.status().message()),
                HasSubstr("1/config.json: " + bad.message));
  }
  const auto tokens = ParseCrammedArch(
      Document("{}", R"(, "architectures": ["XForTokenClassification"])"),
      "1/config.json");
  EXPECT_THAT(std::string(tokens.status().message()),
              HasSubstr("architectures: found \"XForTokenClassification\""));
  const auto labels = ParseCrammedArch(
      Document("{}", R"(, "id2label": {"0": 3})"), "1/config.json");
  EXPECT_THAT(std::string(labels.status().message()),
              HasSubstr("id2label.0: found the number 3"));
}

}  // namespace
}  // namespace fff::importer
