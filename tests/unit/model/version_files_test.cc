// Folders as Hugging Face's hub has them.
#include "server/model/version_files.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/importer/import.h"

namespace fff::model {
namespace {

using importer::ModelConfig;
namespace fs = std::filesystem;
using ::testing::HasSubstr;

const fs::path kCase =
    fs::path(FFF_TEST_DATA_DIR) / "reference/networks/crammed-bert-mlm-1x3";

std::string Read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The object behind "arch".
std::string ArchOf(const std::string& text) {
  const size_t begin = text.find('{', text.find("\"arch\":"));
  size_t end = begin;
  for (int depth = 0; end < text.size();) {
    depth += text[end] == '{' ? 1 : text[end] == '}' ? -1 : 0;
    ++end;
    if (depth == 0) break;
  }
  return text.substr(begin, end - begin);
}

// A version directory of its own with all that a hub's folder holds but the
// weights, gone after the test.
class HubFolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern =
        (fs::temp_directory_path() / "fff_version_files_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    for (const char* name : kCompanionFiles) Write(name, "{}");
    Write("config.json",
          absl::StrCat(R"({"model_type": "crammedBERT", "arch": )",
                       ArchOf(Read(kCase / "case.json")), "}"));
    weights_ = Read(kCase / "model.safetensors");
  }
  void TearDown() override { fs::remove_all(folder_); }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  absl::StatusOr<VersionFiles> Open(const ModelConfig& config = {}) {
    return OpenVersion(folder_.string(), config);
  }
  // The graph has the case's input and output.
  void ExpectServed(const std::string& file) {
    const auto files = Open();
    ASSERT_TRUE(files.ok()) << files.status();
    EXPECT_EQ(files->checkpoint_file, file);
    ASSERT_TRUE(files->config.crammed_bert.has_value());
    const auto graph = importer::Import(files->config, files->checkpoint);
    ASSERT_TRUE(graph.ok()) << graph.status();
    EXPECT_EQ(graph->inputs()[0].name, "input_ids");
    EXPECT_EQ(graph->tokens_max(), 24);
    EXPECT_EQ(graph->outputs()[0].shape, (tensor::Shape{211}));
  }
  void ExpectRefused(absl::StatusCode code, const std::string& why) {
    const auto files = Open();
    ASSERT_FALSE(files.ok());
    EXPECT_EQ(files.status().code(), code);
    EXPECT_THAT(std::string(files.status().message()), HasSubstr(why));
  }

  // The weights as two shards: tensors by turns.
  void WriteShards(const std::string& first, const std::string& second,
                   const std::string& index) {
    const auto whole =
        checkpoint::OpenCheckpoint((kCase / "model.safetensors").string());
    ASSERT_TRUE(whole.ok()) << whole.status();
    const std::string files[] = {first, second};
    std::string headers[2];
    std::string bytes[2];
    std::string map;
    size_t turn = 0;
    for (const auto& [name, tensor] : whole->tensors()) {
      const size_t at = bytes[turn].size();
      bytes[turn].append(reinterpret_cast<const char*>(tensor.bytes.data()),
                         tensor.bytes.size());
      absl::StrAppend(&headers[turn], headers[turn].empty() ? "{" : ",", "\"",
                      name, "\":{\"dtype\":\"F32\",\"shape\":[",
                      absl::StrJoin(tensor.shape, ","), "],\"data_offsets\":[",
                      at, ",", bytes[turn].size(), "]}");
      absl::StrAppend(&map, map.empty() ? "{" : ",", "\"", name, "\":\"",
                      files[turn], "\"");
      turn = 1 - turn;
    }
    for (size_t i : {0U, 1U}) {
      const std::string text = headers[i] + "}";
      const uint64_t length = text.size();
      const std::string prefix(reinterpret_cast<const char*>(&length),
                               sizeof(length));
      Write(files[i], prefix + text + bytes[i]);
    }
    Write(index, absl::StrCat(R"({"metadata": {"total_size": 1}, )",
                              "\"weight_map\": ", map, "}}"));
  }

  fs::path folder_;
  std::string weights_;
};

TEST_F(HubFolderTest, ServesSafetensors) {
  Write("model.safetensors", weights_);
  ExpectServed("model.safetensors");
  // Which goes before the same weights in torch's format.
  Write("pytorch_model.bin", "garbage");
  ExpectServed("model.safetensors");
}

TEST_F(HubFolderTest, ServesTorchsName) {
  Write("pytorch_model.bin", weights_);
  ExpectServed("pytorch_model.bin");
}

TEST_F(HubFolderTest, ServesOneFileOfAnyNameBesideCompanions) {
  Write("checkpoint-1000", weights_);
  ExpectServed("checkpoint-1000");
}

TEST_F(HubFolderTest, ServesShards) {
  WriteShards("model-00001-of-00002.safetensors",
              "model-00002-of-00002.safetensors",
              "model.safetensors.index.json");
  ExpectServed("model.safetensors.index.json");
  fs::remove(folder_ / "model.safetensors.index.json");
  WriteShards("pytorch_model-00001-of-00002.bin",
              "pytorch_model-00002-of-00002.bin",
              "pytorch_model.bin.index.json");
  ExpectServed("pytorch_model.bin.index.json");
}

TEST_F(HubFolderTest, NamesAShardThatIsMissing) {
  WriteShards("a", "b", "model.safetensors.index.json");
  fs::remove(folder_ / "b");
  ExpectRefused(absl::StatusCode::kNotFound, "model.safetensors.index.json: ");
  ExpectRefused(absl::StatusCode::kNotFound, (folder_ / "b").string());
}

TEST_F(HubFolderTest, RefusesATensorInTwoShards) {
  WriteShards("a", "b", "model.safetensors.index.json");
  fs::remove(folder_ / "b");
  fs::copy_file(folder_ / "a", folder_ / "b");
  ExpectRefused(absl::StatusCode::kInvalidArgument, "is in both");
}

TEST_F(HubFolderTest, RefusesAnIndexThatLeavesTheFolder) {
  Write("model.safetensors.index.json", R"({"weight_map": {"w": "../w"}})");
  ExpectRefused(absl::StatusCode::kInvalidArgument,
                "weight_map.w: found the string \"../w\"");
}

TEST_F(HubFolderTest, RefusesAConfigOfWhatIsNotServed) {
  Write("model.safetensors", weights_);
  Write("config.json", R"({"model_type": "crammedBERT",
                           "arch": {"norm_scheme": "post"}})");
  ExpectRefused(absl::StatusCode::kInvalidArgument,
                "config.json: arch.norm_scheme: found the string \"post\"");
}

TEST_F(HubFolderTest, LayersOfTheModelGoBeforeTheFoldersConfig) {
  Write("model.safetensors", weights_);
  Write("config.json", "garbage");
  const auto config =
      importer::ParseModelConfig(Read(kCase / "config.json"), "config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  const auto files = Open(*config);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_FALSE(files->config.crammed_bert.has_value());
  EXPECT_TRUE(importer::Import(files->config, files->checkpoint).ok());
}

TEST_F(HubFolderTest, AConfigOfAnotherModelSaysNothing) {
  Write("model.safetensors", weights_);
  Write("config.json", R"({"model_type": "bert", "hidden_size": 3})");
  const auto files = Open();
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_FALSE(files->config.crammed_bert.has_value());
}

}  // namespace
}  // namespace fff::model
