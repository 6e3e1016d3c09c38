#include "server/model/checkpoint_file.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/checkpoint.h"
#include "server/importer/shards.h"
#include "server/model/dense_file.h"
#include "server/model/small_files.h"

namespace fff::model {
namespace {

namespace fs = std::filesystem;
using checkpoint::FileContent;
using Kind = FileContent::Kind;

constexpr size_t kFilesShown = 8;

struct File {
  std::string name;
  std::string path;
  FileContent content = {};
};

bool IsCompanion(const std::string& name) {
  return std::find(std::begin(kCompanionFiles), std::end(kCompanionFiles),
                   name) != std::end(kCompanionFiles);
}

// Regular files under names of their authors' choice, in order. Hidden files,
// companions, the dense network and the rows of the precision report do not
// count.
absl::StatusOr<std::vector<File>> OtherFiles(
    const std::string& version_dir, const std::string& precision_rows) {
  std::error_code error;
  std::vector<File> found;
  fs::directory_iterator it(version_dir, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename().string();
    std::error_code ignored;
    if (name.front() == '.' || IsDenseFile(name) || name == precision_rows ||
        IsCompanion(name) || !it->is_regular_file(ignored)) {
      continue;
    }
    if (found.size() == kVersionFilesMax) {
      return absl::FailedPreconditionError(
          absl::StrCat(version_dir, ": more than ", kVersionFilesMax,
                       " files; name the checkpoint model.safetensors"));
    }
    found.push_back({name, it->path().string()});
  }
  if (error) return absl::ErrnoToStatus(error.value(), version_dir);
  std::sort(found.begin(), found.end(),
            [](const File& a, const File& b) { return a.name < b.name; });
  return found;
}

// Fills in what the files are. The shards that an index names are not
// checkpoints of their own.
absl::Status Inspect(std::vector<File>& files) {
  std::set<std::string> shards;
  for (File& file : files) {
    if (!IsShardIndex(file.name)) continue;
    FFF_ASSIGN_OR_RETURN(const std::string text,
                         ReadBounded(file.path, importer::kIndexBytesMax));
    const auto index = importer::ParseShardIndex(text, file.path);
    if (!index.ok()) continue;
    file.content.kind = Kind::kWeights;
    shards.insert(index->files.begin(), index->files.end());
  }
  for (File& file : files) {
    if (file.content.kind == Kind::kWeights) continue;
    if (shards.count(file.name) > 0) {
      file.content = {Kind::kOther, "this is a shard"};
      continue;
    }
    FFF_ASSIGN_OR_RETURN(file.content, checkpoint::InspectFile(file.path));
  }
  return absl::OkStatus();
}

// Those that are checkpoints; of two names of one file, which a link makes, the
// first.
std::vector<std::string> Checkpoints(const std::vector<File>& files) {
  std::vector<const File*> found;
  for (const File& file : files) {
    if (file.content.kind != Kind::kWeights) continue;
    const bool again =
        std::any_of(found.begin(), found.end(), [&](const File* other) {
          std::error_code ignored;
          return fs::equivalent(file.path, other->path, ignored);
        });
    if (!again) found.push_back(&file);
  }
  std::vector<std::string> names;
  for (const File* file : found) names.push_back(file->name);
  return names;
}

// "model-00001-of-00002.safetensors", as Hugging Face names shards.
bool IsShard(absl::string_view name) {
  const size_t of = name.find("-of-");
  return of != absl::string_view::npos && of >= 5 && name.size() >= of + 9 &&
         name.find_first_not_of("0123456789", of - 5) == of &&
         name.find_first_not_of("0123456789", of + 4) == of + 9;
}

absl::Status Several(const std::string& version_dir,
                     const std::vector<std::string>& names) {
  if (std::all_of(names.begin(), names.end(), IsShard)) {
    return absl::FailedPreconditionError(absl::StrCat(
        version_dir, ": found shards of a checkpoint (",
        absl::StrJoin(names, ", "), ") without the index that names them, ",
        kSafetensorsIndexFile, " or ", kTorchIndexFile,
        "; put it beside them, or merge them into one file"));
  }
  return absl::FailedPreconditionError(
      absl::StrCat(version_dir, ": found several checkpoints (",
                   absl::StrJoin(names, ", "), "), wanted exactly one"));
}

absl::Status None(const std::string& version_dir,
                  const std::vector<File>& files) {
  std::string message =
      absl::StrCat(version_dir, ": no checkpoint, wanted one of ",
                   absl::StrJoin(kCheckpointFiles, ", "), ", ",
                   absl::StrJoin(kHubFiles, ", "), ", or one file of any name");
  for (size_t i = 0; i < files.size() && i < kFilesShown; ++i) {
    absl::StrAppend(&message, i == 0 ? "; found " : "; ",
                    base::Printable(files[i].name), ": ",
                    files[i].content.what);
  }
  return absl::NotFoundError(message);
}

// Of files whose names leave it open. A file that is alone is taken whatever it
// is: reading it says what is wrong.
absl::StatusOr<std::string> ChooseByContent(const std::string& version_dir,
                                            std::vector<File> files) {
  if (files.size() == 1) return files[0].name;
  FFF_RETURN_IF_ERROR(Inspect(files));
  const std::vector<std::string> checkpoints = Checkpoints(files);
  if (checkpoints.size() == 1) return checkpoints[0];
  if (!checkpoints.empty()) return Several(version_dir, checkpoints);
  return None(version_dir, files);
}

absl::StatusOr<std::vector<File>> Existing(
    const std::string& version_dir, absl::Span<const char* const> names) {
  std::vector<File> found;
  for (const char* name : names) {
    const std::string path = (fs::path(version_dir) / name).string();
    FFF_ASSIGN_OR_RETURN(const bool exists, FileExists(path));
    std::error_code ignored;
    if (exists && !fs::is_directory(path, ignored)) {
      found.push_back({name, path});
    }
  }
  return found;
}

}  // namespace

bool IsShardIndex(absl::string_view file) {
  return absl::EndsWith(file, ".index.json");
}

absl::StatusOr<std::string> FindCheckpointFile(
    const std::string& version_dir, const std::string& precision_rows) {
  FFF_ASSIGN_OR_RETURN(std::vector<File> known,
                       Existing(version_dir, kCheckpointFiles));
  if (!known.empty()) return ChooseByContent(version_dir, std::move(known));
  FFF_ASSIGN_OR_RETURN(const std::vector<File> hub,
                       Existing(version_dir, kHubFiles));
  if (!hub.empty()) return hub[0].name;
  FFF_ASSIGN_OR_RETURN(std::vector<File> others,
                       OtherFiles(version_dir, precision_rows));
  return ChooseByContent(version_dir, std::move(others));
}

}  // namespace fff::model
