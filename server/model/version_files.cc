#include "server/model/version_files.h"

#include <filesystem>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/importer/shards.h"
#include "server/model/checkpoint_file.h"
#include "server/model/memory_need.h"

namespace fff::model {
namespace {

namespace fs = std::filesystem;
using importer::kConfigBytesMax;
using importer::ModelConfig;

// The shards that an index names.
absl::StatusOr<checkpoint::Checkpoint> OpenShards(
    const std::string& version_dir, const std::string& index_path,
    const std::string& entry, base::Progress* progress) {
  FFF_ASSIGN_OR_RETURN(const std::string text,
                       ReadBounded(index_path, importer::kIndexBytesMax));
  FFF_ASSIGN_OR_RETURN(const importer::ShardIndex index,
                       importer::ParseShardIndex(text, index_path));
  std::vector<checkpoint::Checkpoint> shards;
  for (const std::string& file : index.files) {
    auto shard = checkpoint::OpenCheckpoint(
        (fs::path(version_dir) / file).string(), entry, progress);
    if (!shard.ok()) return base::Annotate(shard.status(), index_path);
    shards.push_back(*std::move(shard));
  }
  return importer::Joined(index, shards);
}

absl::StatusOr<checkpoint::Checkpoint> OpenFile(const std::string& version_dir,
                                                const std::string& file,
                                                const std::string& entry,
                                                base::Progress* progress) {
  const std::string path = (fs::path(version_dir) / file).string();
  if (IsShardIndex(file)) {
    return OpenShards(version_dir, path, entry, progress);
  }
  return checkpoint::OpenCheckpoint(path, entry, progress);
}

// The config with what a config.json beside the checkpoint says, where nothing
// else says what the layers are.
absl::StatusOr<ModelConfig> WithVersionConfig(const std::string& version_dir,
                                              const ModelConfig& config) {
  ModelConfig with = config;
  if (!config.layers.empty() || config.crammed_bert.has_value()) return with;
  const std::string path = (fs::path(version_dir) / kConfigFile).string();
  FFF_ASSIGN_OR_RETURN(const bool exists, FileExists(path));
  if (!exists) return with;
  FFF_ASSIGN_OR_RETURN(const std::string text,
                       ReadBounded(path, kConfigBytesMax));
  // Of something else, it is not looked at, however it is written.
  if (!absl::StrContains(text, importer::kCrammedBertType)) return with;
  FFF_ASSIGN_OR_RETURN(with.crammed_bert,
                       importer::ParseCrammedArch(text, path));
  return with;
}

}  // namespace

absl::StatusOr<VersionFiles> OpenVersion(const std::string& version_dir,
                                         const ModelConfig& config,
                                         base::Progress* progress) {
  FFF_RETURN_IF_ERROR(CheckDirectory(version_dir));
  FFF_ASSIGN_OR_RETURN(ModelConfig with,
                       WithVersionConfig(version_dir, config));
  FFF_ASSIGN_OR_RETURN(std::string file,
                       FindCheckpointFile(version_dir, config.precision_rows));
  FFF_RETURN_IF_ERROR(CheckCheckpointFits(version_dir, file));
  FFF_ASSIGN_OR_RETURN(
      checkpoint::Checkpoint checkpoint,
      OpenFile(version_dir, file, config.checkpoint_entry, progress));
  return VersionFiles{std::move(with), std::move(file), std::move(checkpoint)};
}

}  // namespace fff::model
