#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// Which file of a version directory is its trained dense network. All but
// IsDenseFile touch the disk.
namespace fff::model {

// The first that is there; its format is told by content.
inline constexpr const char* kDenseFiles[] = {"dense.safetensors", "dense.pt",
                                              "dense.pth", "dense.bin"};

// Such a file is never the checkpoint.
bool IsDenseFile(absl::string_view name);

// The file's name; "" when the version ships none.
absl::StatusOr<std::string> FindDenseFile(const std::string& version_dir);

// What somebody who put a dense network there may not expect, a sentence each:
// a second file that is passed over, or none here but one in another version's
// directory.
std::vector<std::string> DenseFileNotes(const std::string& version_dir);

}  // namespace fff::model
