#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct zip;  // libzip

// NumPy's .npz files: zip archives of .npy files, stored or deflated.
// Untrusted.
namespace fff::cli {

inline constexpr int64_t kNpzEntriesMax = 4096;
// All arrays that are read out of one archive, together.
inline constexpr int64_t kNpzBytesMax = int64_t{1} << 30;

// Whether the bytes start like a zip archive.
bool IsZip(absl::string_view bytes);

// An array of an archive to be written.
struct NpzEntry {
  std::string name;  // without ".npy"
  std::string npy;   // the .npy file
};

// An archive of the arrays, stored. INVALID_ARGUMENT for a name twice, INTERNAL
// when libzip cannot.
absl::StatusOr<std::string> WriteNpz(const std::vector<NpzEntry>& entries);

// Owned by one thread.
class NpzArchive {
 public:
  struct Array {
    std::string name;    // without ".npy"
    uint64_t index = 0;  // in the archive
    uint64_t bytes = 0;  // of its .npy file
  };

  // Reads the directory of an archive, which must outlive the result.
  // INVALID_ARGUMENT when it is damaged, holds no array, more than
  // kNpzEntriesMax entries, or a name twice.
  static absl::StatusOr<NpzArchive> Open(absl::string_view bytes);

  const std::vector<Array>& arrays() const { return arrays_; }

  // Null when there is none of that name.
  const Array* Find(absl::string_view name) const;

  // The array's .npy file, checked against the archive's CRC. INVALID_ARGUMENT
  // names the array: damaged, encrypted, or beyond kNpzBytesMax.
  absl::StatusOr<std::string> Read(const Array& array);

  // The array of that name; for "" the only one. INVALID_ARGUMENT lists the
  // arrays there are.
  absl::StatusOr<Array> Choose(absl::string_view name) const;

  // "x float32 (3, 8), y int64 (3)", for messages; the first of many.
  std::string ListText() const;

 private:
  using Handle = std::unique_ptr<zip, void (*)(zip*)>;

  explicit NpzArchive(Handle handle) : handle_(std::move(handle)) {}

  absl::Status AddEntry(uint64_t index);
  // Up to `bytes_max` bytes from the start of the array's file.
  absl::StatusOr<std::string> ReadStart(const Array& array,
                                        uint64_t bytes_max) const;

  Handle handle_;
  std::vector<Array> arrays_;
  uint64_t bytes_left_ = kNpzBytesMax;
};

}  // namespace fff::cli
