#include "server/model/model_files.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/model/synthetic_checkpoint.h"

namespace fff::model {
namespace {

using importer::ModelConfig;
namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const fs::path kVectors = fs::path(FFF_TEST_DATA_DIR) / "reference/vectors";

// A model directory of its own with version 1, gone after the test.
class ModelFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern =
        (fs::temp_directory_path() / "fff_model_files_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    model_dir_ = pattern;
    version_dir_ = model_dir_ / "1";
    fs::create_directory(version_dir_);
  }
  void TearDown() override { fs::remove_all(model_dir_); }

  void Write(const fs::path& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
  }
  void CopyVector(const std::string& name, const std::string& file) {
    fs::copy_file(kVectors / name / "model.safetensors", version_dir_ / file);
  }
  // The vectors here are of sap-fff, which no tensor tells.
  static ModelConfig SapConfig() {
    ModelConfig config;
    config.layers.resize(1);
    config.layers[0].convention = "sap-fff";
    return config;
  }
  absl::StatusOr<LoadedVersion> Load(const ModelConfig& config = SapConfig()) {
    return LoadVersion(version_dir_.string(), config, {});
  }
  // One linear layer as a safetensors file.
  void WriteLinear(const fs::path& path, int64_t in, int64_t out) {
    const size_t bytes = static_cast<size_t>(in * out) * sizeof(float);
    const std::string header = R"({"weight":{"dtype":"F32","shape":[)" +
                               std::to_string(out) + "," + std::to_string(in) +
                               R"(],"data_offsets":[0,)" +
                               std::to_string(bytes) + "]}}";
    const uint64_t size = header.size();
    std::string text(reinterpret_cast<const char*>(&size), sizeof(size));
    Write(path, text + header + std::string(bytes, '\0'));
  }

  fs::path model_dir_;
  fs::path version_dir_;
};

TEST_F(ModelFilesTest, WithoutAConfigTheDefaultsServe) {
  const auto config = ReadModelConfig(model_dir_.string());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->layers, IsEmpty());
}

TEST_F(ModelFilesTest, ReadsTheConfigAndNamesItInErrors) {
  Write(model_dir_ / "config.json", R"({"device": "cpu"})");
  const auto config = ReadModelConfig(model_dir_.string());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->device, importer::DeviceChoice::kCpu);
  Write(model_dir_ / "config.json", R"({"device": "cpu)");
  const auto broken = ReadModelConfig(model_dir_.string());
  EXPECT_EQ(broken.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(broken.status().message()),
              HasSubstr((model_dir_ / "config.json").string()));
}

TEST_F(ModelFilesTest, AConfigOfAnySizeIsReadOnlyToItsBound) {
  Write(model_dir_ / "config.json",
        std::string(3 * importer::kConfigBytesMax, ' '));
  const auto config = ReadModelConfig(model_dir_.string());
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(config.status().message()),
              HasSubstr("at most 1048576 are allowed"));
}

TEST_F(ModelFilesTest, AConfigThatIsNoFileIsRefused) {
  fs::create_directory(model_dir_ / "config.json");
  const auto config = ReadModelConfig(model_dir_.string());
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(config.status().message()),
              HasSubstr("not a regular file"));
}

TEST_F(ModelFilesTest, AConfigMayBeALink) {
  Write(model_dir_ / "data.json", R"({"device": "cuda"})");
  fs::create_symlink("data.json", model_dir_ / "config.json");
  const auto config = ReadModelConfig(model_dir_.string());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->device, importer::DeviceChoice::kCuda);
}

TEST_F(ModelFilesTest, MissingDirectoriesAreNotFound) {
  const std::string gone = (model_dir_ / "gone").string();
  EXPECT_EQ(ReadModelConfig(gone).status().code(), absl::StatusCode::kNotFound);
  const auto version = LoadVersion(gone, ModelConfig(), BuildOptions());
  EXPECT_EQ(version.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(version.status().message()),
              HasSubstr(gone + ": no such directory"));
}

TEST_F(ModelFilesTest, AVersionThatIsAFileIsRefused) {
  Write(model_dir_ / "2", "x");
  const auto version =
      LoadVersion((model_dir_ / "2").string(), ModelConfig(), BuildOptions());
  EXPECT_EQ(version.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(version.status().message()),
              HasSubstr("not a directory"));
}

TEST_F(ModelFilesTest, AnEmptyVersionSaysWhatItWants) {
  const auto version = Load();
  EXPECT_EQ(version.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(version.status().message()),
              AllOf(HasSubstr(version_dir_.string()),
                    HasSubstr("wanted one of model.safetensors, model.pt, "
                              "model.pth, model.bin, model")));
}

TEST_F(ModelFilesTest, TheFormatIsToldByContentNotByName) {
  for (const char* file : kCheckpointFiles) {
    CopyVector("sapient-128x64", file);
    const auto version = Load();
    ASSERT_TRUE(version.ok()) << version.status();
    EXPECT_EQ(version->checkpoint_file, file);
    EXPECT_EQ(version->fff->input().width(), 128);
    EXPECT_FALSE(version->dense.trained);
    EXPECT_THAT(version->dense.description, HasSubstr("127 nodes"));
    fs::remove(version_dir_ / file);
  }
}

TEST_F(ModelFilesTest, SeveralCheckpointsAreRefused) {
  CopyVector("sapient-128x64", "model.pt");
  CopyVector("sapient-128x64", "model.safetensors");
  const auto version = Load();
  EXPECT_EQ(version.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(version.status().message()),
              HasSubstr("found several checkpoints (model.safetensors, "
                        "model.pt), wanted exactly one"));
}

TEST_F(ModelFilesTest, OneFileOfAnyNameServesUnderThatName) {
  CopyVector("sapient-128x64", "sap_trained-0.95");
  Write(version_dir_ / ".hidden", "x");
  WriteLinear(version_dir_ / "dense.safetensors", 128, 64);
  const auto version = Load();
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_EQ(version->checkpoint_file, "sap_trained-0.95");
  // A known name goes before, whatever else lies there.
  CopyVector("sapient-128x64", "model.pt");
  const auto known = Load();
  ASSERT_TRUE(known.ok()) << known.status();
  EXPECT_EQ(known->checkpoint_file, "model.pt");
}

TEST_F(ModelFilesTest, TwoFilesOfOtherNamesAreRefused) {
  CopyVector("sapient-128x64", "b");
  CopyVector("sapient-128x64", "a");
  const auto version = Load();
  EXPECT_EQ(version.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(version.status().message()),
              HasSubstr("found several checkpoints (a, b)"));
}

TEST_F(ModelFilesTest, ADenseFileBecomesTheTwin) {
  CopyVector("sapient-128x64", "model.safetensors");
  WriteLinear(version_dir_ / "dense.safetensors", 128, 64);
  const auto version = Load();
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_TRUE(version->dense.trained);
  EXPECT_EQ(version->dense.description,
            "trained dense network from dense.safetensors: 128 -> 64");
}

TEST_F(ModelFilesTest, ADenseFileOfTorchBecomesTheTwin) {
  CopyVector("sapient-128x64", "model.safetensors");
  WriteLinear(version_dir_ / "dense.pt", 128, 64);
  const auto version = Load();
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_TRUE(version->dense.trained);
  EXPECT_EQ(version->dense.description,
            "trained dense network from dense.pt: 128 -> 64");
  EXPECT_THAT(version->dense.assumed, IsEmpty());
}

TEST_F(ModelFilesTest, ASecondDenseFileIsNamed) {
  CopyVector("sapient-128x64", "model.safetensors");
  WriteLinear(version_dir_ / "dense.safetensors", 128, 64);
  WriteLinear(version_dir_ / "dense.pt", 128, 64);
  const auto version = Load();
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_THAT(version->dense.assumed,
              ElementsAre("dense.pt is passed over, since dense.safetensors is "
                          "there"));
}

TEST_F(ModelFilesTest, ATwinInAnotherVersionsDirectoryIsNamed) {
  CopyVector("sapient-128x64", "model.safetensors");
  WriteLinear(version_dir_ / "dense.safetensors", 128, 64);
  fs::create_directory(model_dir_ / "2");
  fs::copy_file(version_dir_ / "model.safetensors",
                model_dir_ / "2/model.safetensors");
  const std::string second = (model_dir_ / "2").string();
  const auto version = LoadVersion(second, SapConfig(), {});
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_FALSE(version->dense.trained);
  EXPECT_THAT(version->dense.assumed,
              ElementsAre(HasSubstr("no trained dense network stands in "
                                    "version 2, but 1/dense.safetensors")));
  ModelConfig lazy = SapConfig();
  lazy.dense = importer::DenseChoice::kLazy;
  const auto later = LoadVersion(second, lazy, {});
  ASSERT_TRUE(later.ok()) << later.status();
  EXPECT_EQ(later->dense.assumed, version->dense.assumed);
}

TEST_F(ModelFilesTest, WhatABareLayerIsTakenForIsSaid) {
  CopyVector("fastfeedforward-mnist-shape", "model.safetensors");
  const auto version = Load(ModelConfig());
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_THAT(
      version->assumed,
      ElementsAre(AllOf(
          HasSubstr("layers[0]: taken for convention \"fastfeedforward\""),
          HasSubstr("no tensor tells the activation, taken as relu"),
          HasSubstr("\"fastfeedforward-0.2.1\" (pbelcak/fastfeedforward 0.2.1, "
                    "the release on PyPI) adds none in eval, which moves "
                    "answers by up to 0.353"))));
}

TEST_F(ModelFilesTest, WhatTheConfigSaysIsNotAssumed) {
  CopyVector("fastfeedforward-mnist-shape", "model.safetensors");
  ModelConfig config;
  config.layers.resize(1);
  config.layers[0].convention = "fastfeedforward";
  config.layers[0].activation = graph::Activation::kRelu;
  const auto named = Load(config);
  ASSERT_TRUE(named.ok()) << named.status();
  EXPECT_THAT(named->assumed,
              ElementsAre(AllOf(HasSubstr("layers[0]: b2s is added; "),
                                Not(HasSubstr("activation")))));
  config.layers[0].output_bias = true;
  const auto all = Load(config);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_THAT(all->assumed, IsEmpty());
}

TEST_F(ModelFilesTest, ABadDenseFileFailsTheVersion) {
  CopyVector("sapient-128x64", "model.safetensors");
  WriteLinear(version_dir_ / "dense.safetensors", 127, 64);
  const auto version = Load();
  EXPECT_EQ(version.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(version.status().message()),
              AllOf(HasSubstr("1/dense.safetensors"),
                    HasSubstr("input width 127, wanted 128")));
  Write(version_dir_ / "dense.safetensors", "garbage");
  EXPECT_EQ(Load().status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ModelFilesTest, ABadCheckpointNamesItsFile) {
  Write(version_dir_ / "model.bin", "garbage");
  const auto version = Load();
  EXPECT_EQ(version.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(version.status().message()),
              HasSubstr((version_dir_ / "model.bin").string()));
}

TEST_F(ModelFilesTest, TheModelOutlivesItsFile) {
  CopyVector("sapient-128x64", "model.safetensors");
  const auto version = Load();
  ASSERT_TRUE(version.ok()) << version.status();
  fs::remove(version_dir_ / "model.safetensors");
  const std::vector<float> x = test::RandomRows(3, 128);
  const std::vector<float> y = test::RunModel(*version->fff, x);
  const std::vector<float> dense = test::RunModel(*version->dense.model, x);
  EXPECT_EQ(y.size(), 3u * 64);
  EXPECT_EQ(dense.size(), 3u * 64);
}

TEST(DemoModelTest, LoadsWithItsTrainedTwin) {
  const std::string dir =
      std::string(FFF_SOURCE_DIR) + "/deploy/models/fashion-mnist";
  const auto config = ReadModelConfig(dir);
  ASSERT_TRUE(config.ok()) << config.status();
  const auto version = LoadVersion(dir + "/1", *config, {});
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_EQ(version->fff->output().labels.size(), 10u);
  EXPECT_TRUE(version->dense.trained);
  EXPECT_EQ(version->dense.description,
            "trained dense network from dense.safetensors: 784 -> 32 -> 256 "
            "relu -> 64 relu -> 10");
}

}  // namespace
}  // namespace fff::model
