#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

struct zip;  // libzip

namespace fff::checkpoint {

// Bounds of one archive. Entries: a file for each tensor of a training
// checkpoint, whose optimiser keeps two more. All entries together may inflate
// to kInflateRatioMax times the archive and kInflateSlackBytes: float weights
// compress by less than two, and what torch writes is not compressed at all.
inline constexpr uint64_t kZipEntriesMax = uint64_t{1} << 18;
inline constexpr size_t kZipNameBytesMax = 1024;
inline constexpr uint64_t kInflateRatioMax = 32;
inline constexpr uint64_t kInflateSlackBytes = uint64_t{1} << 20;
inline constexpr uint64_t kInflatedBytesMax = uint64_t{1} << 37;  // 128 GiB

// Bytes that were read out of an archive; copies share them. The start is
// aligned for every element type.
struct OwnedBytes {
  std::shared_ptr<const std::byte[]> data;
  size_t size = 0;
  // The archive says that the CRC is 0 and it is not: nothing was checked.
  // torch writes 0 where it does not compute one (torch_archive.h).
  bool unchecked = false;
  absl::Span<const std::byte> span() const { return {data.get(), size}; }
};

// A zip archive in memory that somebody else owns and keeps. Entries are read
// through libzip into memory of their own, also those that are stored without
// compression. That checks every byte against the archive's CRC. It also leaves
// one parser of the format rather than two that may disagree. Not thread-safe.
class ZipArchive {
 public:
  struct Entry {
    uint64_t index = 0;
    uint64_t size = 0;  // uncompressed
    uint32_t crc = 0;
  };
  using EntryMap = std::map<std::string, Entry, std::less<>>;

  // Reads and checks the directory; inflates nothing. INVALID_ARGUMENT when it
  // is damaged, above a bound of this file, or promises entries that overlap.
  // The same for entries that are encrypted or compressed by anything but
  // deflate, and for names that are absolute, occur twice, or have a ".." or
  // empty part, a backslash or a control character.
  static absl::StatusOr<ZipArchive> Open(absl::Span<const std::byte> bytes);

  const EntryMap& entries() const { return entries_; }

  // Null when there is no such entry.
  const Entry* Find(absl::string_view name) const;

  // Allocates entry.size bytes and reads the entry. INVALID_ARGUMENT when its
  // data does not have the promised size or the promised CRC, unless that is 0.
  absl::StatusOr<OwnedBytes> Read(const Entry& entry) const;

 private:
  using Handle = std::unique_ptr<zip, void (*)(zip*)>;

  ZipArchive(Handle handle, EntryMap entries)
      : handle_(std::move(handle)), entries_(std::move(entries)) {}

  Handle handle_;
  EntryMap entries_;
};

}  // namespace fff::checkpoint
