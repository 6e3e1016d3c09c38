#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fff::cli {

// Input files are bounded before anything is read, packed or unpacked.
inline constexpr int64_t kFileBytesMax = int64_t{1} << 30;

// The whole file; a gzip file (recognised by content) is unpacked. Errors name
// the path: NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT (a directory, more
// than kFileBytesMax, a damaged gzip stream).
absl::StatusOr<std::string> ReadFile(const std::string& path);

// The bytes of one or more gzip members, at most `bytes_max`; other bytes are
// returned as they are.
absl::StatusOr<std::string> Gunzip(std::string bytes, int64_t bytes_max);

// Replaces the file's contents. Errors name the path.
absl::Status WriteFile(const std::string& path, absl::string_view contents);

}  // namespace fff::cli
