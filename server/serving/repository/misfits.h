#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

// Finds what stands in a repository as if it were to be served and cannot be.
// Such are a folder `v1` or `latest` where a version is wanted, a checkpoint
// outside of one, a repository that is one level too high or too deep. Pure
// where it takes names, else it touches the disk.
namespace fff::serving {

struct Misfit {
  std::string name;       // of the model it stands for, printable
  std::string reason;     // what was got and what is wanted
  std::string directory;  // where a change may mend it
  bool operator==(const Misfit& other) const {
    return name == other.name && reason == other.reason;
  }
};

// More than these, the first by name, are not named.
inline constexpr size_t kMisfitsMax = 256;

// Whether a folder of that name, whatever it holds, is meant as a version:
// "v1", "0", "1.0", "+1", "latest".
bool LooksLikeVersion(absl::string_view name);
// Whether a file of that name is meant as a checkpoint.
bool LooksLikeCheckpoint(absl::string_view name);

// What of a model's folder was passed over, besides its `versions` (names of
// folders) and what is no business of the server, as one sentence; "" when
// there is nothing.
std::string MisfitsOfModel(const std::filesystem::path& model,
                           const std::vector<std::string>& versions);

// Why a folder of the repository is no model, as one sentence; "" when nothing
// in it looks like one.
std::string WhyNoModel(const std::filesystem::path& directory);

// The same of a file of the repository.
std::string WhyNoModelFile(const std::filesystem::path& file);

}  // namespace fff::serving
