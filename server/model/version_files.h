#pragma once

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/checkpoint/checkpoint.h"
#include "server/importer/model_config.h"

// Which files of a version directory are its checkpoint.
namespace fff::model {

// File names of a version directory, looked for first; when none is there, the
// only other file that is a checkpoint, whatever its name. What is one, and its
// format, is recognised by content (checkpoint.h), never by name.
inline constexpr const char* kConfigFile = "config.json";
inline constexpr const char* kDenseCheckpointFile = "dense.safetensors";
inline constexpr const char* kCheckpointFiles[] = {
    "model.safetensors", "model.pt", "model.pth", "model.bin", "model"};
// Hugging Face's names, the first that is there, where none of those is. An
// index names the files, the shards, that hold the tensors (shards.h).
inline constexpr const char* kSafetensorsIndexFile =
    "model.safetensors.index.json";
inline constexpr const char* kTorchIndexFile = "pytorch_model.bin.index.json";
inline constexpr const char* kHubFiles[] = {
    kSafetensorsIndexFile, "pytorch_model.bin", kTorchIndexFile};
// What stands beside a checkpoint and is none, so that it need not be read.
inline constexpr const char* kCompanionFiles[] = {kConfigFile,
                                                  "tokenizer.json",
                                                  "tokenizer_config.json",
                                                  "vocab.txt",
                                                  "special_tokens_map.json",
                                                  "generation_config.json",
                                                  "training_args.bin",
                                                  "README.md"};

struct VersionFiles {
  importer::ModelConfig config;  // with what stands beside the checkpoint
  std::string checkpoint_file;   // the file name alone, e.g. "model.pt"
  checkpoint::Checkpoint checkpoint;
};

// The one checkpoint of `version_dir`, all shards of it, and the config.json
// beside it where `config` has no layers: that of a crammed BERT
// (crammed_arch.h) is taken, another one is not looked at. Touches the disk.
// Errors as LoadVersion.
absl::StatusOr<VersionFiles> OpenVersion(const std::string& version_dir,
                                         const importer::ModelConfig& config);

// Whether something is there that is no directory. Links are followed: mounted
// configuration volumes consist of them.
absl::StatusOr<bool> FileExists(const std::string& path);

// NOT_FOUND, or INVALID_ARGUMENT where it is none.
absl::Status CheckDirectory(const std::string& dir);

// The whole of a regular file, read and not mapped: editors rewrite config.json
// in place. Reads one byte past the bound so that the parser refuses what is
// larger.
absl::StatusOr<std::string> ReadBounded(const std::string& path,
                                        size_t bytes_max);

}  // namespace fff::model
