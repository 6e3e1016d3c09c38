#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fff::serving {

inline constexpr size_t kModelsMax = 4096;
inline constexpr size_t kVersionsMax = 4096;
inline constexpr size_t kModelNameBytesMax = 256;

// One numbered directory of a model.
struct ScannedVersion {
  int64_t version = 0;  // 1 and above
  // Names, sizes, inodes and times of its files: two looks that give the same
  // text found the same files, unwritten in between.
  std::string identity;
};

// One model directory of the repository.
struct ScannedModel {
  // As it can be listed: a name that cannot be served is made printable.
  std::string name;
  std::string directory;
  // Why the model cannot be loaded whatever it holds: a name that cannot be
  // served, a directory that cannot be read, too many versions. OK otherwise.
  absl::Status status;
  std::string config_identity;           // of config.json; "" = there is none
  std::vector<ScannedVersion> versions;  // ascending
};

// Reads the repository's folders: a model is a directory that holds at least
// one directory named by a positive decimal number, or a config.json. One that
// cannot be served or read is listed with the reason and takes no other down.
// Files, hidden directories (".name"), lost+found and other directories are
// passed over; links are followed. Ordered by name. Touches the disk. NOT_FOUND
// or PERMISSION_DENIED when the repository cannot be read, RESOURCE_EXHAUSTED
// above kModelsMax models.
absl::StatusOr<std::vector<ScannedModel>> ScanRepository(
    const std::string& repository);

// One model of it. INVALID_ARGUMENT for a name that cannot be served or is no
// name of a directory in the repository, NOT_FOUND when there is no such model.
absl::StatusOr<ScannedModel> ScanModel(const std::string& repository,
                                       const std::string& name);

// The identity of a version directory's files as they are now; "" when there is
// no such directory.
std::string VersionIdentity(const std::string& version_directory);

}  // namespace fff::serving
