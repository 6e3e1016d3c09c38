#include "server/checkpoint/zip_archive.h"

#include <zip.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/base/utf8.h"

namespace fff::checkpoint {
namespace {

// Owns a libzip error for as long as its text is needed.
class ZipError {
 public:
  ZipError() { zip_error_init(&error_); }
  ~ZipError() { zip_error_fini(&error_); }
  ZipError(const ZipError&) = delete;
  ZipError& operator=(const ZipError&) = delete;
  zip_error_t* get() { return &error_; }
  std::string text() { return base::Printable(zip_error_strerror(&error_)); }

 private:
  zip_error_t error_;
};

std::string Quoted(absl::string_view name) {
  return absl::StrCat("zip entry \"", base::Printable(name), "\"");
}

absl::Status CheckName(absl::string_view name) {
  if (name.empty() || name.size() > kZipNameBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "its name has ", name.size(), " bytes, want 1 to ", kZipNameBytesMax));
  }
  if (!base::IsUtf8(name)) {
    return absl::InvalidArgumentError("its name is not UTF-8");
  }
  for (const char c : name) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '\\') {
      return absl::InvalidArgumentError(
          "its name has a control character or a backslash");
    }
  }
  // An entry for a directory ends with a slash.
  const absl::string_view path =
      absl::EndsWith(name, "/") ? name.substr(0, name.size() - 1) : name;
  for (const absl::string_view part : absl::StrSplit(path, '/')) {
    if (part.empty() || part == "." || part == "..") {
      return absl::InvalidArgumentError(
          "its name is absolute or has an empty, \".\" or \"..\" part");
    }
  }
  return absl::OkStatus();
}

// Entry sizes as the directory states them, added up against the bounds. That
// compressed bytes fit the archive also refuses entries that share their bytes.
class SizeCheck {
 public:
  explicit SizeCheck(uint64_t archive_bytes)
      : archive_bytes_(archive_bytes),
        inflated_max_(
            std::min(kInflatedBytesMax,
                     archive_bytes * kInflateRatioMax + kInflateSlackBytes)) {}

  absl::Status Add(const zip_stat_t& stat) {
    const bool stored = stat.comp_method == ZIP_CM_STORE;
    if (stored && stat.size != stat.comp_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("is stored without compression, but ", stat.size,
                       " bytes are to come out of ", stat.comp_size));
    }
    if (__builtin_add_overflow(compressed_, stat.comp_size, &compressed_) ||
        compressed_ > archive_bytes_) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the entries up to this one claim more compressed bytes than the ",
          archive_bytes_, " of the archive"));
    }
    if (__builtin_add_overflow(inflated_, stat.size, &inflated_) ||
        inflated_ > inflated_max_) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the entries up to this one inflate to more than ", inflated_max_,
          " bytes, the maximum for an archive of ", archive_bytes_));
    }
    return absl::OkStatus();
  }

 private:
  uint64_t archive_bytes_;
  uint64_t inflated_max_;
  uint64_t compressed_ = 0;
  uint64_t inflated_ = 0;
};

absl::Status CheckMethods(const zip_stat_t& stat) {
  if (stat.encryption_method != ZIP_EM_NONE) {
    return absl::InvalidArgumentError("is encrypted");
  }
  if (stat.comp_method != ZIP_CM_STORE && stat.comp_method != ZIP_CM_DEFLATE) {
    return absl::InvalidArgumentError(
        absl::StrCat("has compression method ", stat.comp_method,
                     ", want 0 (stored) or 8 (deflate)"));
  }
  return absl::OkStatus();
}

absl::Status AddEntry(zip_t* archive, uint64_t index, SizeCheck& sizes,
                      ZipArchive::EntryMap& entries) {
  constexpr zip_uint64_t kWanted = ZIP_STAT_NAME | ZIP_STAT_SIZE |
                                   ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD |
                                   ZIP_STAT_ENCRYPTION_METHOD | ZIP_STAT_CRC;
  zip_stat_t stat;
  zip_stat_init(&stat);
  if (zip_stat_index(archive, index, ZIP_FL_ENC_RAW, &stat) != 0 ||
      (stat.valid & kWanted) != kWanted) {
    return absl::InvalidArgumentError(
        absl::StrCat("zip entry ", index, " cannot be read"));
  }
  const std::string name = stat.name;
  const std::string context = Quoted(name);
  FFF_RETURN_IF_ERROR(base::Annotate(CheckName(name), context));
  FFF_RETURN_IF_ERROR(base::Annotate(CheckMethods(stat), context));
  FFF_RETURN_IF_ERROR(base::Annotate(sizes.Add(stat), context));
  if (!entries.emplace(name, ZipArchive::Entry{index, stat.size, stat.crc})
           .second) {
    return absl::InvalidArgumentError(absl::StrCat(context, " occurs twice"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ZipArchive> ZipArchive::Open(absl::Span<const std::byte> bytes) {
  if (bytes.empty()) {  // libzip would make a new archive of it
    return absl::InvalidArgumentError("damaged zip archive: it has no bytes");
  }
  ZipError error;
  zip_source_t* source = zip_source_buffer_create(bytes.data(), bytes.size(),
                                                  /*freep=*/0, error.get());
  if (source == nullptr) {
    return absl::InternalError(absl::StrCat("libzip: ", error.text()));
  }
  zip_t* opened = zip_open_from_source(source, ZIP_RDONLY, error.get());
  if (opened == nullptr) {
    zip_source_free(source);  // taken over only by a successful open
    return absl::InvalidArgumentError(
        absl::StrCat("damaged zip archive: ", error.text(),
                     "; if the file is cut short, copy it again"));
  }
  Handle handle(opened, zip_discard);
  const auto count = static_cast<uint64_t>(zip_get_num_entries(opened, 0));
  if (count > kZipEntriesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("the zip archive has ", count, " entries, at most ",
                     kZipEntriesMax, " are allowed"));
  }
  SizeCheck sizes(bytes.size());
  EntryMap entries;
  for (uint64_t i = 0; i < count; ++i) {
    FFF_RETURN_IF_ERROR(AddEntry(opened, i, sizes, entries));
  }
  return ZipArchive(std::move(handle), std::move(entries));
}

const ZipArchive::Entry* ZipArchive::Find(absl::string_view name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : &found->second;
}

absl::StatusOr<OwnedBytes> ZipArchive::Read(const Entry& entry) const {
  const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> file(
      zip_fopen_index(handle_.get(), entry.index, 0), zip_fclose);
  if (file == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "cannot be read: ", base::Printable(zip_strerror(handle_.get()))));
  }
  auto data = std::shared_ptr<std::byte[]>(new std::byte[entry.size]);
  uint64_t filled = 0;
  while (filled < entry.size) {
    const zip_int64_t got =
        zip_fread(file.get(), data.get() + filled, entry.size - filled);
    if (got <= 0) break;
    filled += static_cast<uint64_t>(got);
  }
  // The read at the end is where libzip compares length and CRC.
  std::byte beyond;
  const zip_int64_t rest = zip_fread(file.get(), &beyond, 1);
  const bool unchecked =
      filled == entry.size && rest < 0 && entry.crc == 0 &&
      zip_error_code_zip(zip_file_get_error(file.get())) == ZIP_ER_CRC;
  if ((filled != entry.size || rest != 0) && !unchecked) {
    return absl::InvalidArgumentError(absl::StrCat(
        "is damaged (", filled, " of ", entry.size,
        " bytes): ", base::Printable(zip_file_strerror(file.get()))));
  }
  return OwnedBytes{std::move(data), static_cast<size_t>(entry.size),
                    unchecked};
}

}  // namespace fff::checkpoint
