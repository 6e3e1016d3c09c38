#include "server/serving/repository_scan.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
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
  if (!bad && name.size() <= kModelNameBytesMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("model directory '", base::Printable(name),
                   "' cannot be a model name: "
                   "':' and control characters are not allowed, at most ",
                   kModelNameBytesMax, " bytes"));
}

absl::Status ReadError(const std::string& path, const std::error_code& error) {
  return absl::ErrnoToStatus(error.value(),
                             absl::StrCat("cannot read directory ", path));
}

absl::StatusOr<std::vector<int64_t>> ScanVersions(
    const std::string& directory) {
  std::error_code error;
  std::vector<int64_t> versions;
  fs::directory_iterator it(directory, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    int64_t version = 0;
    std::error_code ignored;
    if (!ParseVersion(it->path().filename().string(), version) ||
        !it->is_directory(ignored)) {
      continue;
    }
    versions.push_back(version);
    if (versions.size() > kVersionsMax) {
      return absl::ResourceExhaustedError(absl::StrCat(
          directory, " holds more than ", kVersionsMax, " versions"));
    }
  }
  if (error) return ReadError(directory, error);
  std::sort(versions.begin(), versions.end());
  return versions;
}

}  // namespace

absl::StatusOr<std::vector<ScannedModel>> ScanRepository(
    const std::string& repository) {
  std::error_code error;
  std::vector<ScannedModel> models;
  fs::directory_iterator it(repository, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    ScannedModel model;
    model.name = it->path().filename().string();
    model.directory = it->path().string();
    std::error_code ignored;
    if (IsPassedOver(model.name) || !it->is_directory(ignored)) continue;
    absl::StatusOr<std::vector<int64_t>> versions =
        ScanVersions(model.directory);
    if (absl::IsResourceExhausted(versions.status())) return versions.status();
    // One directory that cannot be read must not take the others down.
    if (versions.ok()) model.versions = *versions;
    if (versions.ok() && model.versions.empty() &&
        !fs::exists(it->path() / model::kConfigFile, ignored)) {
      continue;
    }
    FFF_RETURN_IF_ERROR(CheckModelName(model.name));
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
