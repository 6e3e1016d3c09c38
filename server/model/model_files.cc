#include "server/model/model_files.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/checkpoint.h"
#include "server/importer/import.h"

namespace fff::model {
namespace {

namespace fs = std::filesystem;
using importer::kConfigBytesMax;
using importer::ModelConfig;

// Whether something is there that is no directory. Links are followed: mounted
// configuration volumes consist of them.
absl::StatusOr<bool> FileExists(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) return false;
  if (error) {
    return absl::ErrnoToStatus(error.value(), path.string());
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

// The whole of a regular file, read and not mapped: editors rewrite config.json
// in place. Reads one byte past the bound so that the parser refuses what is
// larger.
absl::StatusOr<std::string> ReadBounded(const std::string& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": not a regular file"));
  }
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
      std::fopen(path.c_str(), "rb"), std::fclose);
  if (file == nullptr) return absl::ErrnoToStatus(errno, path);
  std::string text(kConfigBytesMax + 1, '\0');
  const size_t read = std::fread(text.data(), 1, text.size(), file.get());
  if (std::ferror(file.get()) != 0) return absl::ErrnoToStatus(EIO, path);
  text.resize(read);
  return text;
}

// Files of a version directory under names of their authors' choice, at most
// two: the caller takes one and refuses more. Hidden files, the dense network
// and the rows of the precision report do not count.
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
        name == precision_rows || !it->is_regular_file(ignored)) {
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
                         FileExists(fs::path(version_dir) / name));
    if (exists) found.emplace_back(name);
  }
  if (found.empty()) {
    FFF_ASSIGN_OR_RETURN(found, OtherFiles(version_dir, precision_rows));
  }
  if (found.size() == 1) return found.front();
  if (found.empty()) {
    return absl::NotFoundError(absl::StrCat(
        version_dir, ": no checkpoint, wanted one of ",
        absl::StrJoin(kCheckpointFiles, ", "), ", or one file of any name"));
  }
  return absl::FailedPreconditionError(
      absl::StrCat(version_dir, ": found several checkpoints (",
                   absl::StrJoin(found, ", "), "), wanted exactly one"));
}

absl::StatusOr<PrecisionReport> ComparePrecision(const std::string& version_dir,
                                                 const ModelConfig& config,
                                                 const graph::Graph& graph,
                                                 const Model& reduced) {
  FFF_ASSIGN_OR_RETURN(const std::shared_ptr<const Model> fp32,
                       BuildGraph(graph, BuildOptions()));
  FFF_ASSIGN_OR_RETURN(
      const ReportRows rows,
      config.precision_rows.empty()
          ? absl::StatusOr<ReportRows>(RandomReportRows(fp32->input().width()))
          : ReadReportRows(
                (fs::path(version_dir) / config.precision_rows).string(),
                fp32->input().width()));
  return ReportPrecision(config.precision, *fp32, reduced, rows);
}

// The version's trained dense network; nothing when it ships none.
absl::StatusOr<std::optional<checkpoint::Checkpoint>> OpenDense(
    const std::string& version_dir) {
  const fs::path path = fs::path(version_dir) / kDenseCheckpointFile;
  FFF_ASSIGN_OR_RETURN(const bool exists, FileExists(path));
  if (!exists) return std::nullopt;
  FFF_ASSIGN_OR_RETURN(checkpoint::Checkpoint dense,
                       checkpoint::OpenCheckpoint(path.string()));
  return std::make_optional(std::move(dense));
}

absl::StatusOr<LoadedVersion> Load(const std::string& version_dir,
                                   const ModelConfig& config,
                                   const BuildOptions& options) {
  FFF_RETURN_IF_ERROR(CheckDirectory(version_dir));
  LoadedVersion loaded;
  FFF_ASSIGN_OR_RETURN(loaded.checkpoint_file,
                       FindCheckpointFile(version_dir, config.precision_rows));
  const std::string path =
      (fs::path(version_dir) / loaded.checkpoint_file).string();
  FFF_ASSIGN_OR_RETURN(const checkpoint::Checkpoint checkpoint,
                       checkpoint::OpenCheckpoint(path));
  FFF_ASSIGN_OR_RETURN(const graph::Graph graph,
                       importer::Import(config, checkpoint));
  FFF_ASSIGN_OR_RETURN(loaded.fff, BuildModel(config, graph, options));
  if (config.precision != graph::Precision::kFp32) {
    FFF_ASSIGN_OR_RETURN(
        loaded.precision,
        ComparePrecision(version_dir, config, graph, *loaded.fff));
  }
  FFF_ASSIGN_OR_RETURN(const std::optional<checkpoint::Checkpoint> dense,
                       OpenDense(version_dir));
  FFF_ASSIGN_OR_RETURN(loaded.dense,
                       dense.has_value()
                           ? BuildTrainedTwin(config, *dense, graph, options)
                           : BuildCostTwin(config, graph, options));
  return loaded;
}

}  // namespace

absl::StatusOr<importer::ModelConfig> ReadModelConfig(
    const std::string& model_dir) {
  FFF_RETURN_IF_ERROR(CheckDirectory(model_dir));
  const std::string path = (fs::path(model_dir) / kConfigFile).string();
  FFF_ASSIGN_OR_RETURN(const bool exists, FileExists(path));
  if (!exists) return ModelConfig();
  FFF_ASSIGN_OR_RETURN(const std::string text, ReadBounded(path));
  return importer::ParseModelConfig(text, path);
}

absl::StatusOr<LoadedVersion> LoadVersion(const std::string& version_dir,
                                          const importer::ModelConfig& config,
                                          const BuildOptions& options) {
  // A model too large for this machine must not end the server that serves
  // others.
  try {
    return Load(version_dir, config, options);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(absl::StrCat(
        version_dir, ": not enough memory for the model and its dense twin"));
  }
}

}  // namespace fff::model
