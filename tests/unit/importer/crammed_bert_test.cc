// Crammed BERT from the public code's own files: the graph of each form in
// which they come, against that of config.json's layers.
#include "server/importer/networks/crammed_bert.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "server/graph/passes.h"
#include "server/importer/import.h"

namespace fff::importer {
namespace {

using checkpoint::Checkpoint;
using nlohmann::json;
using TensorMap = Checkpoint::TensorMap;
namespace fs = std::filesystem;
using ::testing::HasSubstr;

const fs::path kNetworks = fs::path(FFF_TEST_DATA_DIR) / "reference/networks";
constexpr const char* kCases[] = {
    "crammed-bert-mlm-1x3", "crammed-bert-mlm-head-2x3", "crammed-bert-cls-1x3",
    "crammed-bert-ff-mlm"};
constexpr char kWords[] = "encoder.embedding.word_embedding.weight";

std::string Read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Checkpoint Open(const std::string& name) {
  auto opened = checkpoint::OpenCheckpoint(
      (kNetworks / name / "model.safetensors").string());
  EXPECT_TRUE(opened.ok()) << opened.status();
  return *std::move(opened);
}

json Arch(const std::string& name) {
  return json::parse(Read(kNetworks / name / "case.json"))["arch"];
}

// As save_pretrained writes it.
json HubConfig(json arch) {
  return {{"model_type", "crammedBERT"},
          {"arch", std::move(arch)},
          {"torch_dtype", "float32"},
          {"transformers_version", "4.49.0"}};
}

absl::StatusOr<graph::Graph> ImportText(const std::string& config,
                                        const Checkpoint& checkpoint) {
  const auto parsed = ParseModelConfig(config, "config.json");
  if (!parsed.ok()) return parsed.status();
  return Import(*parsed, checkpoint);
}

absl::StatusOr<graph::Graph> ImportHub(const json& config,
                                       const Checkpoint& checkpoint) {
  return ImportText(config.dump(), checkpoint);
}

// The graph of our config.json; sines for sequences up to 24 tokens.
std::string Expected(const std::string& name,
                     const std::string& over = "logsumexp") {
  const std::string config = absl::StrReplaceAll(
      Read(kNetworks / name / "config.json"),
      {{"\"kind\": \"sinusoidal\"", "\"kind\": \"sinusoidal\", \"length\": 24"},
       {"\"logsumexp\"", absl::StrCat("\"", over, "\"")}});
  const auto graph = ImportText(config, Open(name));
  EXPECT_TRUE(graph.ok()) << graph.status();
  return graph.ok() ? graph->Print() : "";
}

// A checkpoint with other tensors of the same storage.
template <class Change>
Checkpoint Changed(const Checkpoint& from, const Change& change) {
  TensorMap tensors = from.tensors();
  change(tensors);
  return from.WithTensors(std::move(tensors));
}

Checkpoint Without(const Checkpoint& from, const std::string& ending) {
  return Changed(from, [&](TensorMap& tensors) {
    for (auto it = tensors.begin(); it != tensors.end();) {
      const std::string& name = it->first;
      const bool ends =
          name.size() >= ending.size() &&
          name.compare(name.size() - ending.size(), ending.size(), ending) == 0;
      it = ends ? tensors.erase(it) : std::next(it);
    }
  });
}

void ExpectRefused(const absl::StatusOr<graph::Graph>& graph,
                   const std::string& why) {
  ASSERT_FALSE(graph.ok()) << why;
  EXPECT_EQ(graph.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(graph.status().message()), HasSubstr(why));
}

TEST(CrammedBertGraph, TakesIdsAndAMaskOfSequencesOfAnyLength) {
  const auto graph =
      ImportText(Read(kNetworks / kCases[0] / "config.json"), Open(kCases[0]));
  ASSERT_TRUE(graph.ok()) << graph.status();
  ASSERT_EQ(graph->inputs().size(), 2U);
  const graph::Port& ids = graph->inputs()[0];
  EXPECT_EQ(ids.name, "input_ids");
  EXPECT_EQ(ids.data_type, tensor::DataType::kI64);
  EXPECT_TRUE(ids.sequence);
  EXPECT_EQ(ids.limit, 211);
  const graph::Port& mask = graph->inputs()[1];
  EXPECT_EQ(mask.role, graph::Port::Role::kMask);
  EXPECT_TRUE(mask.optional);
  EXPECT_EQ(mask.limit, 2);
  EXPECT_TRUE(graph->outputs()[0].sequence);
  EXPECT_EQ(graph->outputs()[0].shape, (tensor::Shape{211}));
  EXPECT_EQ(graph->tokens_max(), 4096);
  const std::string text = graph->Print();
  EXPECT_THAT(text, HasSubstr("%2 = embedding(%0) 211 rows of 48: F32 "
                              "[tokens, 48]"));
  EXPECT_THAT(text, HasSubstr("%3 = positions(%2) of 4096 tokens of 48"));
  EXPECT_THAT(text, HasSubstr("%7 = attention(%6, %1) 3 heads of 16 over all "
                              "tokens, masked: F32 [tokens, 48]"));
}

TEST(CrammedBertGraph, AClassifierAnswersOncePerSequence) {
  const std::string text = Expected("crammed-bert-cls-1x3");
  EXPECT_THAT(text, HasSubstr("logsumexp of all tokens of 48: F32 [rows, 48]"));
  EXPECT_THAT(text, HasSubstr("40 -> 3: F32 [rows, 3]"));
}

TEST(CrammedBertGraph, TheTwinTakesTheSameInputs) {
  const auto graph =
      ImportText(Read(kNetworks / kCases[1] / "config.json"), Open(kCases[1]));
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto dense = graph::Densify(*graph);
  ASSERT_TRUE(dense.ok()) << dense.status();
  EXPECT_EQ(dense->inputs().size(), 2U);
  EXPECT_EQ(dense->inputs()[0].limit, 211);
  EXPECT_EQ(dense->tokens_max(), graph->tokens_max());
}

class CrammedBertCase : public ::testing::TestWithParam<const char*> {};

TEST_P(CrammedBertCase, TheHubsConfigGivesTheSameGraph) {
  const std::string name = GetParam();
  json arch = Arch(name);
  arch["classification_head"]["pooler"] = "lse";
  const auto graph = ImportHub(HubConfig(arch), Open(name));
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->Print(), Expected(name));
  EXPECT_EQ(graph->tokens_max(), 24);
  EXPECT_TRUE(graph->inputs()[1].optional);
}

TEST_P(CrammedBertCase, NamesMayStartWithModule) {
  const std::string name = GetParam();
  json arch = Arch(name);
  arch["classification_head"]["pooler"] = "lse";
  const Checkpoint wrapped = Changed(Open(name), [](TensorMap& tensors) {
    TensorMap renamed;
    for (const auto& [plain, tensor] : tensors) {
      renamed.emplace("module." + plain, tensor);
    }
    tensors = std::move(renamed);
  });
  const auto graph = ImportHub(HubConfig(arch), wrapped);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->Print(), Expected(name));
}

INSTANTIATE_TEST_SUITE_P(
    All, CrammedBertCase, ::testing::ValuesIn(kCases),
    [](const auto& param_info) {
      return absl::StrReplaceAll(param_info.param, {{"-", "_"}});
    });

TEST(CrammedBertHub, EveryPoolingIsKnown) {
  const std::string name = "crammed-bert-cls-1x3";
  const std::pair<const char*, const char*> all[] = {{"avg", "mean"},
                                                     {"zero_index", "first"},
                                                     {"max", "max"},
                                                     {"lse", "logsumexp"}};
  for (const auto& [pooler, over] : all) {
    json arch = Arch(name);
    arch["classification_head"]["pooler"] = pooler;
    const auto graph = ImportHub(HubConfig(arch), Open(name));
    ASSERT_TRUE(graph.ok()) << graph.status();
    EXPECT_EQ(graph->Print(), Expected(name, over)) << pooler;
  }
}

TEST(CrammedBertHub, LabelsAreTakenWhereThereAreAsMany) {
  const std::string name = "crammed-bert-cls-1x3";
  json config = HubConfig(Arch(name));
  config["id2label"] = {{"0", "a"}, {"1", "b"}, {"2", "c"}};
  auto graph = ImportHub(config, Open(name));
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_THAT(graph->outputs()[0].labels, testing::ElementsAre("a", "b", "c"));
  config["id2label"] = {{"0", "LABEL_0"}, {"1", "LABEL_1"}};
  graph = ImportHub(config, Open(name));
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_THAT(graph->outputs()[0].labels, testing::IsEmpty());
}

TEST(CrammedBertHub, APoolerMayHaveNoLayer) {
  json arch = Arch("crammed-bert-cls-1x3");
  arch["classification_head"]["include_ff_layer"] = false;
  const Checkpoint all = Open("crammed-bert-cls-1x3");
  ExpectRefused(ImportHub(HubConfig(arch), all),
                "arch.classification_head.include_ff_layer: found false");
  // A head on the hidden width stands in for one of another file.
  const Checkpoint bare = Changed(all, [](TensorMap& tensors) {
    tensors["head.weight"] = tensors["pooler.dense.weight"];
    tensors["head.bias"] = tensors["pooler.dense.bias"];
    tensors.erase("pooler.dense.weight");
    tensors.erase("pooler.dense.bias");
  });
  const auto graph = ImportHub(HubConfig(arch), bare);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->outputs()[0].shape, (tensor::Shape{40}));
}

// Tied weights: under both names, under either.
TEST(CrammedBertHub, OneOfTwoTiedWeightsIsEnough) {
  for (const char* name :
       {"crammed-bert-mlm-1x3", "crammed-bert-mlm-head-2x3"}) {
    const json config = HubConfig(Arch(name));
    for (const char* missing : {"decoder.weight", kWords}) {
      const auto graph = ImportHub(config, Without(Open(name), missing));
      ASSERT_TRUE(graph.ok()) << graph.status();
      EXPECT_EQ(graph->Print(), Expected(name)) << missing;
    }
  }
  ExpectRefused(
      ImportHub(HubConfig(Arch(kCases[0])),
                Without(Without(Open(kCases[0]), "decoder.weight"), kWords)),
      "tensor \"encoder.embedding.word_embedding.weight\" is missing");
}

TEST(CrammedBertHub, WeightsThatDifferAreBothUsed) {
  const Checkpoint all = Open(kCases[0]);
  const Checkpoint untied = Changed(all, [](TensorMap& tensors) {
    // As wide, and other numbers.
    checkpoint::NamedTensor& decoder = tensors["decoder.weight"];
    decoder = tensors["encoder.layers.0.attn.dense.weight"];
  });
  const auto graph = ImportHub(HubConfig(Arch(kCases[0])), untied);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->outputs()[0].shape, (tensor::Shape{48}));
  EXPECT_EQ(graph->inputs()[0].limit, 211);
}

TEST(CrammedBertBare, ServesWithoutAConfigWhatTensorsTell) {
  // An FFF layer is gelu's; sines have no length of their own.
  const auto graph = ImportText("{}", Open(kCases[0]));
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->Print(),
            absl::StrReplaceAll(Expected(kCases[0]),
                                {{"of 24 tokens", "of 4096 tokens"}}));
}

TEST(CrammedBertBare, AsksForWhatNoTensorTells) {
  ExpectRefused(ImportText("{}", Without(Open(kCases[0]), ".norm_factor")),
                "no tensor tells arch.attention.num_attention_heads");
  ExpectRefused(ImportText("{}", Without(Open(kCases[0]), ".scale_factor")),
                "no tensor tells arch.embedding.pos_embedding");
  ExpectRefused(ImportText("{}", Open("crammed-bert-mlm-head-2x3")),
                "no tensor tells arch.nonlin");
  ExpectRefused(ImportText("{}", Open("crammed-bert-ff-mlm")),
                "no tensor tells arch.nonlin");
  ExpectRefused(ImportText("{}", Open("crammed-bert-cls-1x3")),
                "no tensor tells arch.classification_head.pooler");
  json config = HubConfig({{"nonlin", "GELU"}});
  EXPECT_TRUE(ImportHub(config, Open("crammed-bert-ff-mlm")).ok());
  config = HubConfig({{"attention", {{"num_attention_heads", 3}}}});
  const auto graph =
      ImportHub(config, Without(Open(kCases[0]), ".norm_factor"));
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_THAT(graph->Print(), HasSubstr("3 heads of 16"));
}

TEST(CrammedBertBare, PositionsMayBeSinesWithoutAScaleOrNone) {
  const Checkpoint bare = Without(Open(kCases[0]), ".scale_factor");
  json config = HubConfig({{"embedding", {{"pos_embedding", "sinusoidal"}}}});
  auto graph = ImportHub(config, bare);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_THAT(graph->Print(), HasSubstr("positions("));
  config = HubConfig({{"embedding", {{"pos_embedding", nullptr}}}});
  graph = ImportHub(config, bare);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_THAT(graph->Print(), testing::Not(HasSubstr("positions(")));
}

TEST(CrammedBertBare, RefusesInputsOfTheUsers) {
  ExpectRefused(ImportText(R"({"input": {"name": "ids"}})", Open(kCases[0])),
                "has inputs of its own; leave \"input\" out");
}

TEST(CrammedBertBare, RefusesTensorsThatItDoesNotKnow) {
  const Checkpoint more = Changed(Open(kCases[0]), [](TensorMap& tensors) {
    tensors["encoder.embedding.token_type_embedding.weight"] = tensors[kWords];
  });
  ExpectRefused(ImportText("{}", more),
                "no layer uses: \"encoder.embedding.token_type_embedding");
}

// A config that is another checkpoint's.
TEST(CrammedBertHub, NamesTheKeyThatDiffersFromTheTensors) {
  struct Case {
    const char* path;  // JSON pointer below arch
    json value;
    const char* why;
  };
  const Case cases[] = {
      {"/hidden_size", 64, "arch.hidden_size: found 64, wanted 48"},
      {"/num_transformer_layers", 4,
       "arch.num_transformer_layers: found 4, wanted 3"},
      {"/num_transformer_layers", 2, "found 2, wanted 3"},
      {"/intermed_type", "ff", "arch.intermed_type: found \"ff\""},
      {"/intermed_depth", 4, "arch.intermed_depth: found 4"},
      {"/intermed_size", 2, "2 makes 30 nodes"},
      {"/use_bias", true, "arch.use_bias: found true, wanted false"},
      {"/decoder_bias", true, "arch.decoder_bias: found true"},
      {"/final_norm", false, "arch.final_norm: found false"},
      {"/skip_head_transform", false, "arch.skip_head_transform: found false"},
      {"/embedding/normalization", false, "arch.embedding.normalization"},
      {"/embedding/pos_embedding", "learned", "arch.embedding.pos_embedding"},
      {"/embedding/pos_embedding", "sinusoidal",
       "arch.embedding.pos_embedding"},
      {"/attention/qkv_bias", true, "arch.attention.qkv_bias: found true"},
      {"/attention/num_attention_heads", 4,
       "arch.attention.num_attention_heads: found 4, wanted 3"},
      {"/attention/skip_output_projection", true,
       "arch.attention.skip_output_projection: found true"},
  };
  for (const Case& each : cases) {
    json arch = Arch(kCases[0]);
    arch[json::json_pointer(each.path)] = each.value;
    ExpectRefused(ImportHub(HubConfig(arch), Open(kCases[0])), each.why);
  }
  json arch = Arch("crammed-bert-mlm-head-2x3");
  arch["embedding"]["max_seq_length"] = 128;
  ExpectRefused(ImportHub(HubConfig(arch), Open("crammed-bert-mlm-head-2x3")),
                "arch.embedding.max_seq_length: found 128, wanted 24");
}

TEST(CrammedBertHub, TheHeadIsTheTensorsUnlessThereAreTwo) {
  const Checkpoint mlm = Open(kCases[0]);
  json config = HubConfig(Arch(kCases[0]));
  config["architectures"] = {"ScriptableLMForSequenceClassification"};
  ExpectRefused(ImportHub(config, mlm),
                "architectures: found a sequence classifier");
  const Checkpoint classifier = Open("crammed-bert-cls-1x3");
  const Checkpoint both = Changed(mlm, [&](TensorMap& tensors) {
    for (const char* name : {"head.weight", "head.bias", "pooler.dense.weight",
                             "pooler.dense.bias"}) {
      tensors[name] = *classifier.Find(name);
    }
  });
  config.erase("architectures");
  ExpectRefused(ImportHub(config, both), "found both \"head.weight\" and");
  config["architectures"] = {"ScriptableLMForPreTraining"};
  auto graph = ImportHub(config, both);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->Print(), Expected(kCases[0]));
  config["architectures"] = {"ScriptableLMForSequenceClassification"};
  graph = ImportHub(config, both);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->outputs()[0].shape, (tensor::Shape{3}));
}

TEST(CrammedBertHub, GatedLayersAreToldByTheirShapes) {
  const Checkpoint gated =
      Changed(Open("crammed-bert-ff-mlm"), [](TensorMap& tensors) {
        tensors["encoder.layers.0.ffn.dense_out.weight"].shape = {96, 30};
      });
  ExpectRefused(ImportHub(HubConfig(Arch("crammed-bert-ff-mlm")), gated),
                "gated activations (arch.nonlin \"GELUglu\") are not served");
}

// Its dense sibling as the trained twin.
TEST(CrammedBertHub, ATrainedTwinIsRecognisedToo) {
  const auto config =
      ParseModelConfig(HubConfig(Arch(kCases[0])).dump(), "config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  const auto fff = Import(*config, Open(kCases[0]));
  ASSERT_TRUE(fff.ok()) << fff.status();
  const auto dense = ImportDense(*config, Open("crammed-bert-ff-mlm"), *fff);
  ASSERT_TRUE(dense.ok()) << dense.status();
  EXPECT_EQ(dense->Print(), Expected("crammed-bert-ff-mlm"));
  const auto classifier = ParseModelConfig(
      HubConfig(Arch("crammed-bert-cls-1x3")).dump(), "config.json");
  const auto other = Import(*classifier, Open("crammed-bert-cls-1x3"));
  ASSERT_TRUE(other.ok()) << other.status();
  ExpectRefused(ImportDense(*classifier, Open("crammed-bert-ff-mlm"), *other),
                "output width 211 per token, wanted 3");
}

}  // namespace
}  // namespace fff::importer
