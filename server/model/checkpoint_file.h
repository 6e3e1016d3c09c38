#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// Which file of a version directory is its checkpoint.
namespace fff::model {

// File names of a version directory, looked for first; when none is there, the
// only other file that is a checkpoint, whatever its name. What is one, and its
// format, is recognised by content (checkpoint.h), never by name.
inline constexpr const char* kConfigFile = "config.json";
// A request and its answer (example.h).
inline constexpr const char* kExampleFile = "example.safetensors";
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
                                                  kExampleFile,
                                                  "tokenizer.json",
                                                  "tokenizer_config.json",
                                                  "vocab.txt",
                                                  "special_tokens_map.json",
                                                  "generation_config.json",
                                                  "training_args.bin",
                                                  "README.md"};

// At most as many files of a version directory are looked at.
inline constexpr size_t kVersionFilesMax = 1024;

// The name of the file, or of the index of shards, that is the checkpoint of
// `version_dir`, in the order of the names above. Touches the disk: where
// several files might be it, their content tells (checkpoint::InspectFile), so
// that notes, logs, tokenizers and states of optimisers may stand beside it.
// `precision_rows` is a file that is none. FAILED_PRECONDITION when two are
// checkpoints, NOT_FOUND when none is; both name the files.
absl::StatusOr<std::string> FindCheckpointFile(
    const std::string& version_dir, const std::string& precision_rows);

// Whether a file of that name is an index of shards (shards.h).
bool IsShardIndex(absl::string_view file);

}  // namespace fff::model
