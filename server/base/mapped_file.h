#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace fff::base {

// A whole regular file, mapped read-only and private. Immutable; share it by
// shared_ptr and the bytes live as long as the last owner.
//
// The mapping follows the file: a writer that truncates it in place makes later
// reads fault (SIGBUS). Model files are therefore to be replaced by rename,
// never rewritten in place; see deploy docs.
class MappedFile {
 public:
  // Touches the disk. Errors: NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT
  // (a directory, a device), each naming `path`.
  static absl::StatusOr<std::shared_ptr<const MappedFile>> Open(
      const std::string& path);

  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  absl::Span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  MappedFile(std::string path, const std::byte* data, size_t size)
      : path_(std::move(path)), data_(data), size_(size) {}

  std::string path_;
  const std::byte* data_;
  size_t size_;
};

}  // namespace fff::base
