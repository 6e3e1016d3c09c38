#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/serving/repository/misfits.h"

namespace fff::serving {

inline constexpr size_t kModelsMax = 4096;
inline constexpr size_t kVersionsMax = 4096;
inline constexpr size_t kModelNameBytesMax = 256;

// One numbered directory of a model.
struct ScannedVersion {
  int64_t version = 0;  // 1 and above
  std::string folder;   // its name in the model's: "1", or "001"
  // Names, sizes and times of its files: two looks that give the same text
  // found the same files, unwritten in between.
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
  std::string misfits;  // what was passed over in it (MisfitsOfModel)
};

struct ScannedRepository {
  std::vector<ScannedModel> models;  // ordered by name
  // What was passed over, beside versions and beside models, ordered by name.
  // Of a model without versions it is part of why that cannot be loaded.
  std::vector<Misfit> misfits;
  bool misfits_cut = false;  // there may be more than kMisfitsMax
};

// Reads the repository's folders: a model is a directory that holds at least
// one directory named by a positive decimal number, or a config.json. Zeros in
// front of the number do not matter while no other folder has the same one. A
// model that cannot be served or read is listed with the reason and takes no
// other down. Files, hidden directories (".name"), lost+found and other
// directories are passed over, those that look like a model or a version among
// the misfits; links are followed. Touches the disk. NOT_FOUND or
// PERMISSION_DENIED when the repository cannot be read, RESOURCE_EXHAUSTED
// above kModelsMax models.
absl::StatusOr<ScannedRepository> ScanRepository(const std::string& repository);

// What stat says of a file whose content is the same while this is. Inode and
// device are no part of it: mounts of object stores give files new ones at any
// time. The time of the last change is: it tells of a file that was written in
// place and had its other times put back.
std::string FileIdentity(const struct stat& info);

// One model of it. INVALID_ARGUMENT for a name that cannot be served or is no
// name of a directory in the repository, NOT_FOUND when there is no such model.
absl::StatusOr<ScannedModel> ScanModel(const std::string& repository,
                                       const std::string& name);

// The identity of a version directory's files as they are now; "" when there is
// no such directory.
std::string VersionIdentity(const std::string& version_directory);

}  // namespace fff::serving
