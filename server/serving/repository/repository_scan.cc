#include "server/serving/repository/repository_scan.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/base/utf8.h"
#include "server/model/model_files.h"
#include "server/serving/repository/version_name.h"

namespace fff::serving {
namespace {

namespace fs = std::filesystem;

absl::Status CheckModelName(const std::string& name) {
  const bool bad = std::any_of(name.begin(), name.end(), [](char c) {
    return c == ':' || absl::ascii_iscntrl(static_cast<unsigned char>(c));
  });
  if (!bad && name.size() <= kModelNameBytesMax && base::IsUtf8(name)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "model directory '", base::Printable(name),
      "' cannot be a model name: ':', control characters and what is not UTF-8 "
      "are not allowed, at most ",
      kModelNameBytesMax, " bytes"));
}

absl::Status ReadError(const std::string& path, const std::error_code& error) {
  return absl::ErrnoToStatus(error.value(),
                             absl::StrCat("cannot read directory ", path));
}

// "" when it is no file. Links are followed.
std::string IdentityOfFile(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0 || S_ISDIR(info.st_mode)) return "";
  return FileIdentity(info);
}

// Where several folders have the same number, the one without zeros in front
// counts, or none.
void DropAmbiguous(std::vector<ScannedVersion>& versions) {
  const auto plain = [](const ScannedVersion& v) {
    return v.folder == std::to_string(v.version);
  };
  const std::vector<ScannedVersion> all = std::exchange(versions, {});
  for (const ScannedVersion& version : all) {
    const auto same = std::count_if(
        all.begin(), all.end(),
        [&](const ScannedVersion& v) { return v.version == version.version; });
    if (same == 1 || plain(version)) versions.push_back(version);
  }
}

// `others`: whether the directory holds anything besides versions and the
// config.
absl::Status ScanVersions(const std::string& directory,
                          std::vector<ScannedVersion>& versions, bool& others) {
  others = false;
  std::error_code error;
  fs::directory_iterator it(directory, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    const std::string folder = it->path().filename().string();
    const std::optional<int64_t> version = ParseVersion(folder);
    std::error_code ignored;
    if (!version.has_value() || !it->is_directory(ignored)) {
      others =
          others || (!IsPassedOver(folder) && folder != model::kConfigFile);
      continue;
    }
    if (versions.size() == kVersionsMax) {
      versions.clear();
      return absl::ResourceExhaustedError(absl::StrCat(
          directory, " holds more than ", kVersionsMax, " versions"));
    }
    versions.push_back(
        {*version, folder, VersionIdentity(it->path().string())});
  }
  if (error) return ReadError(directory, error);
  std::sort(versions.begin(), versions.end(),
            [](const ScannedVersion& a, const ScannedVersion& b) {
              return a.version < b.version;
            });
  const bool repeated =
      std::adjacent_find(versions.begin(), versions.end(),
                         [](const ScannedVersion& a, const ScannedVersion& b) {
                           return a.version == b.version;
                         }) != versions.end();
  if (repeated) {
    DropAmbiguous(versions);
    others = true;
  }
  return absl::OkStatus();
}

std::string MisfitsOf(const ScannedModel& model) {
  std::vector<std::string> versions;
  for (const ScannedVersion& version : model.versions) {
    versions.push_back(version.folder);
  }
  return MisfitsOfModel(model.directory, versions);
}

// False when the directory is no model.
bool ScanModelDirectory(const fs::path& path, ScannedModel& model) {
  model.name = path.filename().string();
  model.directory = path.string();
  bool others = false;
  model.status = ScanVersions(model.directory, model.versions, others);
  model.config_identity = IdentityOfFile((path / model::kConfigFile).string());
  if (model.status.ok() && model.versions.empty() &&
      model.config_identity.empty()) {
    return false;
  }
  if (absl::Status named = CheckModelName(model.name); !named.ok()) {
    model.status = std::move(named);
    model.versions.clear();
    model.name = base::Printable(model.name);
  }
  // Looked at once more only where there is something to find.
  if (model.status.ok() && others) model.misfits = MisfitsOf(model);
  return true;
}

// What is no model: its path, and whether it is a directory.
using Strays = std::map<fs::path, bool>;

// Those of the models are there already.
void AddMisfits(const Strays& strays, ScannedRepository& found) {
  for (const auto& [path, is_directory] : strays) {
    if (found.misfits.size() >= kMisfitsMax) {
      found.misfits_cut = true;
      break;
    }
    std::string reason = is_directory ? WhyNoModel(path) : WhyNoModelFile(path);
    if (reason.empty()) continue;
    found.misfits.push_back({base::Printable(path.filename().string()),
                             std::move(reason),
                             is_directory ? path.string() : ""});
  }
  std::sort(found.misfits.begin(), found.misfits.end(),
            [](const Misfit& a, const Misfit& b) { return a.name < b.name; });
  if (found.misfits.size() > kMisfitsMax) {
    found.misfits.resize(kMisfitsMax);
    found.misfits_cut = true;
  }
}

}  // namespace

std::string FileIdentity(const struct stat& info) {
  return absl::StrCat(info.st_size, ":", info.st_mtim.tv_sec, ".",
                      info.st_mtim.tv_nsec, ":", info.st_ctim.tv_sec, ".",
                      info.st_ctim.tv_nsec);
}

std::string VersionIdentity(const std::string& version_directory) {
  constexpr int kFilesMax = 4096;  // those beyond do not tell versions apart
  std::error_code error;
  std::vector<std::string> files;
  fs::directory_iterator it(version_directory, error);
  if (error == std::errc::no_such_file_or_directory) return "";
  if (error) return absl::StrCat("unreadable: ", error.message());
  for (int i = 0; !error && it != fs::directory_iterator() && i < kFilesMax;
       it.increment(error), ++i) {
    const std::string name = it->path().filename().string();
    if (name[0] == '.') continue;
    const std::string identity = IdentityOfFile(it->path().string());
    if (!identity.empty()) files.push_back(absl::StrCat(name, "=", identity));
  }
  std::sort(files.begin(), files.end());
  return absl::StrCat("files:", absl::StrJoin(files, ","));
}

absl::StatusOr<ScannedModel> ScanModel(const std::string& repository,
                                       const std::string& name) {
  FFF_RETURN_IF_ERROR(CheckModelName(name));
  if (name.empty() || IsPassedOver(name) || absl::StrContains(name, '/')) {
    return absl::InvalidArgumentError(
        absl::StrCat("got '", base::Printable(name),
                     "', wanted the name of a model of the repository"));
  }
  ScannedModel model;
  const fs::path path = fs::path(repository) / name;
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    if (ScanModelDirectory(path, model)) return model;
    const std::string reason = WhyNoModel(path);
    if (!reason.empty()) {
      return absl::NotFoundError(
          absl::StrCat("model '", base::Printable(name),
                       "' is not in the repository: ", reason));
    }
  }
  return absl::NotFoundError(
      absl::StrCat("model '", base::Printable(name),
                   "' is not in the repository: it has no directory of that "
                   "name with a version or a config.json in it"));
}

absl::StatusOr<ScannedRepository> ScanRepository(
    const std::string& repository) {
  std::error_code error;
  ScannedRepository found;
  Strays strays;
  fs::directory_iterator it(repository, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    if (IsPassedOver(it->path().filename().string())) continue;
    ScannedModel model;
    std::error_code ignored;
    const bool is_directory = it->is_directory(ignored);
    if (!is_directory || !ScanModelDirectory(it->path(), model)) {
      strays.emplace(it->path(), is_directory);
      continue;
    }
    if (!model.misfits.empty() && !model.versions.empty()) {
      found.misfits.push_back({model.name, model.misfits, model.directory});
    }
    found.models.push_back(std::move(model));
    if (found.models.size() > kModelsMax) {
      return absl::ResourceExhaustedError(
          absl::StrCat(repository, " holds more than ", kModelsMax, " models"));
    }
  }
  if (error) return ReadError(repository, error);
  std::sort(found.models.begin(), found.models.end(),
            [](const ScannedModel& a, const ScannedModel& b) {
              return a.name < b.name;
            });
  AddMisfits(strays, found);
  return found;
}

}  // namespace fff::serving
