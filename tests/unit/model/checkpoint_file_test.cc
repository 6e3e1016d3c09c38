// Version directories with what training leaves beside a checkpoint.
#include "server/model/checkpoint_file.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/model/model_files.h"

namespace fff::model {
namespace {

namespace fs = std::filesystem;
using importer::ModelConfig;
using ::testing::HasSubstr;

const fs::path kWild = fs::path(FFF_TEST_DATA_DIR) / "checkpoint/wild";

class CheckpointFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern =
        (fs::temp_directory_path() / "fff_checkpoint_file_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  void Copy(const std::string& from, const std::string& name) {
    fs::copy_file(kWild / from, folder_ / name,
                  fs::copy_options::overwrite_existing);
  }
  std::string Found() {
    const auto file = FindCheckpointFile(folder_.string(), "rows.safetensors");
    return file.ok() ? *file : std::string(file.status().message());
  }
  absl::Status Refused() {
    return FindCheckpointFile(folder_.string(), "").status();
  }

  fs::path folder_;
};

TEST_F(CheckpointFileTest, ContentTellsWhichFileIsTheCheckpoint) {
  Copy("base.pt", "epoch=3.ckpt");
  EXPECT_EQ(Found(), "epoch=3.ckpt");
  Write("hparams.yaml", "lr: 0.1\n");
  EXPECT_EQ(Found(), "epoch=3.ckpt");
  Write("README.md", "# A model\n");
  Write("README", "A model\n");
  Write("epoch=3.ckpt.sha256", "4d7a2146  epoch=3.ckpt\n");
  Write("tokenizer.model", "\n\x0e\n\x05<unk>");
  Write("merges.txt", "#version: 0.2\n");
  Write("model.onnx", "\x08\x07\x12\x07pytorch");
  Write("events.out.tfevents.1700000000.host",
        std::string("\x18\0\0\0\0\0\0\0\xa3\x7fK\"\t\0\0\x1a\rbrain.Event:2",
                    30));
  Write("weights.h5", "\x89HDF\r\n\x1a\n");
  Write("requirements.txt", "");
  Copy("gz.bin", "old.ckpt.gz");
  EXPECT_EQ(Found(), "epoch=3.ckpt");
}

TEST_F(CheckpointFileTest, TwoCheckpointsAreBothNamed) {
  Copy("base.pt", "epoch=3.ckpt");
  Copy("counter.pt", "ema.ckpt");
  Write("hparams.yaml", "lr: 0.1\n");
  EXPECT_EQ(Refused().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Found(), HasSubstr("found several checkpoints (ema.ckpt, "
                                 "epoch=3.ckpt), wanted exactly one"));
  // One that is damaged or has no data is one, too.
  Copy("skip_data.pt", "ema.ckpt");
  EXPECT_THAT(Found(), HasSubstr("found several checkpoints"));
  Write("ema.ckpt", "PK\3\4");
  EXPECT_THAT(Found(), HasSubstr("found several checkpoints"));
}

TEST_F(CheckpointFileTest, ALinkIsNoSecondCheckpoint) {
  Copy("base.pt", "epoch=3.ckpt");
  fs::create_symlink("epoch=3.ckpt", folder_ / "last.ckpt");
  EXPECT_EQ(Found(), "epoch=3.ckpt");
}

TEST_F(CheckpointFileTest, AKnownNameThatIsNoCheckpointGivesWayToOneThatIs) {
  Copy("base.pt", "model.pt");
  Copy("lfs.bin", "model.safetensors");
  EXPECT_EQ(Found(), "model.pt");
  fs::remove(folder_ / "model.pt");
  EXPECT_EQ(Found(), "model.safetensors");
  // A directory is no file.
  fs::remove(folder_ / "model.safetensors");
  fs::create_directory(folder_ / "model");
  Copy("base.pt", "epoch=3.ckpt");
  EXPECT_EQ(Found(), "epoch=3.ckpt");
}

TEST_F(CheckpointFileTest, WithoutACheckpointEachFileIsNamedForWhatItIs) {
  Copy("gz.bin", "model.ckpt.gz");
  EXPECT_EQ(Found(), "model.ckpt.gz");  // reading it says what is wrong
  Write("notes.txt", "a\n");
  EXPECT_EQ(Refused().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Found(), HasSubstr("no checkpoint, wanted one of "));
  EXPECT_THAT(Found(), HasSubstr("; found model.ckpt.gz: this is gzip"));
  EXPECT_THAT(Found(), HasSubstr("; notes.txt: this is text"));
}

TEST_F(CheckpointFileTest, AnIndexOfAnyNameStandsForItsShards) {
  Copy("uint32.safetensors", "a-00001-of-00002.safetensors");
  Copy("tied.safetensors", "a-00002-of-00002.safetensors");
  EXPECT_THAT(Found(), HasSubstr("found shards of a checkpoint ("));
  EXPECT_THAT(Found(), HasSubstr("without the index that names them"));
  Write("a.safetensors.index.json",
        R"({"weight_map": {"fff.b1s": "a-00001-of-00002.safetensors",
                           "X": "a-00002-of-00002.safetensors"}})");
  Write("README", "x");
  EXPECT_EQ(Found(), "a.safetensors.index.json");
}

TEST_F(CheckpointFileTest, BoundsTheFilesItLooksAt) {
  for (size_t i = 0; i <= kVersionFilesMax; ++i) {
    Write("x" + std::to_string(i), "");
  }
  EXPECT_THAT(Found(), HasSubstr("more than 1024 files"));
}

// Serves the file and answers what base.pt does.
TEST_F(CheckpointFileTest, ServesCheckpointsAsTrainingLeavesThem) {
  struct Case {
    const char* file;
    const char* prefix;
  };
  for (const Case& c :
       {Case{"base.pt", ""}, Case{"counter.pt", ""}, Case{"np_scalar.pt", ""},
        Case{"sparse_beside.pt", ""}, Case{"tensor_attr.pt", ""},
        Case{"lightning_multistep.ckpt", "net."}, Case{"nocrc.pt", ""},
        Case{"model_is_cfg.pt", ""}, Case{"model_is_cfg_empty.pt", ""},
        Case{"uint32.safetensors", "fff."},
        Case{"float8_e4m3fn.safetensors", "fff."},
        Case{"null_metadata.safetensors", ""},
        Case{"leading_blank.safetensors", ""}, Case{"tied.safetensors", ""},
        Case{"pt_tied.pt", ""}}) {
    Copy(c.file, "model.pt");
    ModelConfig config;
    if (c.prefix[0] != '\0') {
      config.layers.resize(1);
      config.layers[0].type = "fff";
      config.layers[0].prefix = c.prefix;
    }
    if (std::string(c.file).find("tied") != std::string::npos) {
      config.layers.resize(1);  // X and Y alone could be one of several
      config.layers[0].type = "fff";
      config.layers[0].convention = "sap-fff";
    }
    const auto version = LoadVersion(folder_.string(), config, {});
    ASSERT_TRUE(version.ok()) << c.file << ": " << version.status();
    EXPECT_EQ(version->fff->input().width(), 8) << c.file;
  }
}

TEST_F(CheckpointFileTest, NamesTheWantedTensorThatCannotBeRead) {
  Copy("float8_e4m3fn.safetensors", "model.safetensors");
  ModelConfig config;
  config.layers.resize(1);
  config.layers[0].type = "linear";
  config.layers[0].prefix = "scale.";
  const auto version = LoadVersion(folder_.string(), config, {});
  EXPECT_THAT(std::string(version.status().message()),
              HasSubstr("not read: \"scale.s\", which has dtype F8_E4M3"));
}

}  // namespace
}  // namespace fff::model
