#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace fff::serving {

inline constexpr size_t kModelsMax = 4096;
inline constexpr size_t kVersionsMax = 4096;
inline constexpr size_t kModelNameBytesMax = 256;

// One model directory of the repository.
struct ScannedModel {
  std::string name;
  std::string directory;
  std::vector<int64_t> versions;  // ascending; numeric directories, 1 and above
};

// Reads the repository's folders: a model is a directory that holds at least
// one directory named by a positive decimal number, or a config.json; one that
// cannot be read is listed without versions, so that loading it fails by
// itself. Files, hidden directories (".name"), lost+found and other directories
// are passed over. Ordered by name. Touches the disk. NOT_FOUND or
// PERMISSION_DENIED when the repository cannot be read, RESOURCE_EXHAUSTED
// above kModelsMax models or kVersionsMax versions, INVALID_ARGUMENT for a
// model name that cannot be served (a ':', a control character, too long).
absl::StatusOr<std::vector<ScannedModel>> ScanRepository(
    const std::string& repository);

}  // namespace fff::serving
