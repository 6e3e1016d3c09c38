#pragma once

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// What is in a directory, and small files of it. All touch the disk.
namespace fff::model {

// Whether something is there that is no directory. Links are followed: mounted
// configuration volumes consist of them.
absl::StatusOr<bool> FileExists(const std::string& path);

// NOT_FOUND, or INVALID_ARGUMENT where it is none.
absl::Status CheckDirectory(const std::string& dir);

// The whole of a regular file, read and not mapped: editors rewrite config.json
// in place. Reads one byte past the bound so that the parser refuses what is
// larger.
absl::StatusOr<std::string> ReadBounded(const std::string& path,
                                        size_t bytes_max);

}  // namespace fff::model
