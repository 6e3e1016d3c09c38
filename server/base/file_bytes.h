#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/base/progress.h"

namespace fff::base {

// A whole regular file, read into memory of its own (page aligned; 2 MiB and
// more ask for huge pages). Immutable; share it by shared_ptr and the bytes
// live as long as the last owner. Whatever happens to the file later, being
// rewritten in place, truncated or deleted, does not reach these bytes; a
// mapping would fault or change under its reader. The memory goes back to the
// system with the last owner.
class FileBytes {
 public:
  // Touches the disk. Errors, each naming `path`: NOT_FOUND, PERMISSION_DENIED,
  // INVALID_ARGUMENT (a directory, a device), RESOURCE_EXHAUSTED (larger than
  // the memory), ABORTED when the file changed while it was read, CANCELLED by
  // `progress`, which may be null.
  static absl::StatusOr<std::shared_ptr<const FileBytes>> Read(
      const std::string& path, Progress* progress = nullptr);

  ~FileBytes();
  FileBytes(const FileBytes&) = delete;
  FileBytes& operator=(const FileBytes&) = delete;

  // Keeps `part`, which lies in the file's bytes. With the last owner of the
  // part its whole pages go back to the system, even where others still keep
  // other parts: a matrix that kernels have packed is in memory once. Parts
  // must not overlap, and nobody may read a part beside those who keep it.
  static std::shared_ptr<const void> KeepPart(
      std::shared_ptr<const FileBytes> file, absl::Span<const std::byte> part);

  const std::string& path() const { return path_; }
  absl::Span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  FileBytes(std::string path, std::byte* data, size_t size)
      : path_(std::move(path)), data_(data), size_(size) {}

  std::string path_;
  std::byte* data_;
  size_t size_;
};

}  // namespace fff::base
