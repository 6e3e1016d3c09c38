#include "server/serving/repository/repository_scan.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/base/utf8.h"
#include "server/model/model_files.h"

namespace fff::serving {
namespace {

namespace fs = std::filesystem;

// "1", "20"; not "01", "+1", "1.5": one spelling a version.
bool ParseVersion(const std::string& name, int64_t& version) {
  return !name.empty() &&
         absl::ascii_isdigit(static_cast<unsigned char>(name[0])) &&
         absl::SimpleAtoi(name, &version) && version >= 1 &&
         name == std::to_string(version);
}

// Hidden directories, and the one that only root may read at the root of every
// ext4 volume.
bool IsPassedOver(const std::string& name) {
  return name[0] == '.' || name == "lost+found";
}

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

// What stat says of a file whose content is the same while this is; "" when it
// is no file. Links are followed.
std::string FileIdentity(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0 || S_ISDIR(info.st_mode)) return "";
  return absl::StrCat(info.st_size, ":", info.st_mtim.tv_sec, ".",
                      info.st_mtim.tv_nsec, ":", info.st_dev, ".", info.st_ino);
}

absl::Status ScanVersions(const std::string& directory,
                          std::vector<ScannedVersion>& versions) {
  std::error_code error;
  fs::directory_iterator it(directory, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    int64_t version = 0;
    std::error_code ignored;
    if (!ParseVersion(it->path().filename().string(), version) ||
        !it->is_directory(ignored)) {
      continue;
    }
    if (versions.size() == kVersionsMax) {
      versions.clear();
      return absl::ResourceExhaustedError(absl::StrCat(
          directory, " holds more than ", kVersionsMax, " versions"));
    }
    versions.push_back({version, VersionIdentity(it->path().string())});
  }
  if (error) return ReadError(directory, error);
  std::sort(versions.begin(), versions.end(),
            [](const ScannedVersion& a, const ScannedVersion& b) {
              return a.version < b.version;
            });
  return absl::OkStatus();
}

// False when the directory is no model.
bool ScanModelDirectory(const fs::path& path, ScannedModel& model) {
  model.name = path.filename().string();
  model.directory = path.string();
  model.status = ScanVersions(model.directory, model.versions);
  model.config_identity = FileIdentity((path / model::kConfigFile).string());
  if (model.status.ok() && model.versions.empty() &&
      model.config_identity.empty()) {
    return false;
  }
  if (absl::Status named = CheckModelName(model.name); !named.ok()) {
    model.status = std::move(named);
    model.versions.clear();
    model.name = base::Printable(model.name);
  }
  return true;
}

}  // namespace

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
    const std::string identity = FileIdentity(it->path().string());
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
  if (!fs::is_directory(path, ignored) || !ScanModelDirectory(path, model)) {
    return absl::NotFoundError(
        absl::StrCat("model '", base::Printable(name),
                     "' is not in the repository: it has no directory of that "
                     "name with a version or a config.json in it"));
  }
  return model;
}

absl::StatusOr<std::vector<ScannedModel>> ScanRepository(
    const std::string& repository) {
  std::error_code error;
  std::vector<ScannedModel> models;
  fs::directory_iterator it(repository, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    ScannedModel model;
    std::error_code ignored;
    if (IsPassedOver(it->path().filename().string()) ||
        !it->is_directory(ignored) || !ScanModelDirectory(it->path(), model)) {
      continue;
    }
    models.push_back(std::move(model));
    if (models.size() > kModelsMax) {
      return absl::ResourceExhaustedError(
          absl::StrCat(repository, " holds more than ", kModelsMax, " models"));
    }
  }
  if (error) return ReadError(repository, error);
  std::sort(models.begin(), models.end(),
            [](const ScannedModel& a, const ScannedModel& b) {
              return a.name < b.name;
            });
  return models;
}

}  // namespace fff::serving
