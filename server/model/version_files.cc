#include "server/model/version_files.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/status_macros.h"
#include "server/importer/shards.h"

namespace fff::model {
namespace {

namespace fs = std::filesystem;
using importer::kConfigBytesMax;
using importer::ModelConfig;

bool IsCompanion(const std::string& name) {
  return std::find(std::begin(kCompanionFiles), std::end(kCompanionFiles),
                   name) != std::end(kCompanionFiles);
}

// Files of a version directory under names of their authors' choice, at most
// two: the caller takes one and refuses more. Hidden files, companions, the
// dense network and the rows of the precision report do not count.
absl::StatusOr<std::vector<std::string>> OtherFiles(
    const std::string& version_dir, const std::string& precision_rows) {
  std::error_code error;
  std::vector<std::string> found;
  fs::directory_iterator it(version_dir, error);
  for (; !error && it != fs::directory_iterator() && found.size() < 2;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    std::error_code ignored;
    if (name.front() == '.' || name == kDenseCheckpointFile ||
        name == precision_rows || IsCompanion(name) ||
        !it->is_regular_file(ignored)) {
      continue;
    }
    found.push_back(name);
  }
  if (error) return absl::ErrnoToStatus(error.value(), version_dir);
  std::sort(found.begin(), found.end());
  return found;
}

absl::StatusOr<std::string> FindCheckpointFile(
    const std::string& version_dir, const std::string& precision_rows) {
  std::vector<std::string> found;
  for (const char* name : kCheckpointFiles) {
    FFF_ASSIGN_OR_RETURN(const bool exists,
                         FileExists((fs::path(version_dir) / name).string()));
    if (exists) found.emplace_back(name);
  }
  for (const char* name : kHubFiles) {
    if (!found.empty()) break;
    FFF_ASSIGN_OR_RETURN(const bool exists,
                         FileExists((fs::path(version_dir) / name).string()));
    if (exists) found.emplace_back(name);
  }
  if (found.empty()) {
    FFF_ASSIGN_OR_RETURN(found, OtherFiles(version_dir, precision_rows));
  }
  if (found.size() == 1) return found.front();
  if (found.empty()) {
    return absl::NotFoundError(absl::StrCat(
        version_dir, ": no checkpoint, wanted one of ",
        absl::StrJoin(kCheckpointFiles, ", "), ", ",
        absl::StrJoin(kHubFiles, ", "), ", or one file of any name"));
  }
  return absl::FailedPreconditionError(
      absl::StrCat(version_dir, ": found several checkpoints (",
                   absl::StrJoin(found, ", "), "), wanted exactly one"));
}

// The shards that an index names.
absl::StatusOr<checkpoint::Checkpoint> OpenShards(
    const std::string& version_dir, const std::string& index_path) {
  FFF_ASSIGN_OR_RETURN(const std::string text,
                       ReadBounded(index_path, importer::kIndexBytesMax));
  FFF_ASSIGN_OR_RETURN(const importer::ShardIndex index,
                       importer::ParseShardIndex(text, index_path));
  std::vector<checkpoint::Checkpoint> shards;
  for (const std::string& file : index.files) {
    auto shard =
        checkpoint::OpenCheckpoint((fs::path(version_dir) / file).string());
    if (!shard.ok()) return base::Annotate(shard.status(), index_path);
    shards.push_back(*std::move(shard));
  }
  return importer::Joined(index, shards);
}

absl::StatusOr<checkpoint::Checkpoint> OpenFile(const std::string& version_dir,
                                                const std::string& file) {
  const std::string path = (fs::path(version_dir) / file).string();
  if (file == kSafetensorsIndexFile || file == kTorchIndexFile) {
    return OpenShards(version_dir, path);
  }
  return checkpoint::OpenCheckpoint(path);
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

absl::StatusOr<bool> FileExists(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) return false;
  if (error) {
    return absl::ErrnoToStatus(error.value(), path);
  }
  return true;
}

absl::Status CheckDirectory(const std::string& dir) {
  std::error_code error;
  const fs::file_status status = fs::status(dir, error);
  if (status.type() == fs::file_type::not_found) {
    return absl::NotFoundError(absl::StrCat(dir, ": no such directory"));
  }
  if (error) return absl::ErrnoToStatus(error.value(), dir);
  if (status.type() != fs::file_type::directory) {
    return absl::InvalidArgumentError(absl::StrCat(dir, ": not a directory"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadBounded(const std::string& path,
                                        size_t bytes_max) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": not a regular file"));
  }
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
      std::fopen(path.c_str(), "rb"), std::fclose);
  if (file == nullptr) return absl::ErrnoToStatus(errno, path);
  std::string text(bytes_max + 1, '\0');
  const size_t read = std::fread(text.data(), 1, text.size(), file.get());
  if (std::ferror(file.get()) != 0) return absl::ErrnoToStatus(EIO, path);
  text.resize(read);
  return text;
}

absl::StatusOr<VersionFiles> OpenVersion(const std::string& version_dir,
                                         const ModelConfig& config) {
  FFF_RETURN_IF_ERROR(CheckDirectory(version_dir));
  FFF_ASSIGN_OR_RETURN(ModelConfig with,
                       WithVersionConfig(version_dir, config));
  FFF_ASSIGN_OR_RETURN(std::string file,
                       FindCheckpointFile(version_dir, config.precision_rows));
  FFF_ASSIGN_OR_RETURN(checkpoint::Checkpoint checkpoint,
                       OpenFile(version_dir, file));
  return VersionFiles{std::move(with), std::move(file), std::move(checkpoint)};
}

}  // namespace fff::model
