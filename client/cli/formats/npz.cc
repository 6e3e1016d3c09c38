#include "client/cli/formats/npz.h"

#include <zip.h>

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "client/cli/formats/npy_header.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"

namespace fff::cli {
namespace {

constexpr size_t kListedMax = 16;

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

absl::Status AtArray(absl::string_view name, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat(".npz array '", base::Printable(name, 80), "': ", what));
}

// All that a source holds.
absl::StatusOr<std::string> BytesOf(zip_source_t* source) {
  zip_stat_t stat;
  zip_stat_init(&stat);
  if (zip_source_stat(source, &stat) != 0 || zip_source_open(source) != 0) {
    return absl::InternalError("libzip cannot give the archive it has made");
  }
  std::string bytes(stat.size, '\0');
  const zip_int64_t got = zip_source_read(source, bytes.data(), bytes.size());
  zip_source_close(source);
  if (got != static_cast<zip_int64_t>(bytes.size())) {
    return absl::InternalError("libzip cannot give the archive it has made");
  }
  return bytes;
}

}  // namespace

bool IsZip(absl::string_view bytes) {
  return absl::StartsWith(bytes, "PK\x03\x04") ||
         absl::StartsWith(bytes, "PK\x05\x06");
}

absl::StatusOr<NpzArchive> NpzArchive::Open(absl::string_view bytes) {
  if (!IsZip(bytes)) {  // of no bytes libzip would make a new archive
    return absl::InvalidArgumentError("not a .npz file");
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
        absl::StrCat("damaged or cut .npz archive: ", error.text()));
  }
  NpzArchive archive(Handle(opened, zip_discard));
  const int64_t entries = zip_get_num_entries(opened, 0);
  if (entries > kNpzEntriesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(".npz archive: got ", entries, " entries, wanted at most ",
                     kNpzEntriesMax));
  }
  for (int64_t i = 0; i < entries; ++i) {
    FFF_RETURN_IF_ERROR(archive.AddEntry(static_cast<uint64_t>(i)));
  }
  if (archive.arrays_.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("got a zip archive of ", entries,
                     " entries without an array, wanted .npy files in it, as "
                     "numpy.savez writes them"));
  }
  return archive;
}

absl::StatusOr<std::string> WriteNpz(const std::vector<NpzEntry>& entries) {
  ZipError error;
  const auto failed = [&error](absl::string_view what) {
    return absl::InternalError(
        absl::StrCat("libzip cannot ", what, ": ", error.text()));
  };
  zip_source_t* const made =
      zip_source_buffer_create(nullptr, 0, /*freep=*/0, error.get());
  if (made == nullptr) return failed("make an archive");
  const std::unique_ptr<zip_source_t, void (*)(zip_source_t*)> source(
      made, zip_source_free);
  zip_t* const archive =
      zip_open_from_source(source.get(), ZIP_TRUNCATE, error.get());
  if (archive == nullptr) return failed("make an archive");
  zip_source_keep(source.get());  // the archive has the other share
  std::unique_ptr<zip_t, void (*)(zip_t*)> open(archive, zip_discard);
  for (const NpzEntry& entry : entries) {
    zip_source_t* const bytes =
        zip_source_buffer(archive, entry.npy.data(), entry.npy.size(), 0);
    const std::string name = absl::StrCat(entry.name, ".npy");
    const zip_int64_t index =
        zip_file_add(archive, name.c_str(), bytes, ZIP_FL_ENC_UTF_8);
    if (index < 0) {
      if (bytes != nullptr) zip_source_free(bytes);
      return AtArray(entry.name,
                     absl::StrCat("cannot be added: ",
                                  base::Printable(zip_strerror(archive))));
    }
    zip_set_file_compression(archive, static_cast<zip_uint64_t>(index),
                             ZIP_CM_STORE, 0);
  }
  if (zip_close(archive) != 0) {
    return absl::InternalError(
        absl::StrCat("libzip: ", base::Printable(zip_strerror(archive))));
  }
  static_cast<void>(open.release());  // closed above
  return BytesOf(source.get());
}

absl::Status NpzArchive::AddEntry(uint64_t index) {
  zip_stat_t stat;
  zip_stat_init(&stat);
  constexpr zip_uint64_t kWanted = ZIP_STAT_NAME | ZIP_STAT_SIZE;
  if (zip_stat_index(handle_.get(), index, ZIP_FL_ENC_RAW, &stat) != 0 ||
      (stat.valid & kWanted) != kWanted) {
    return absl::InvalidArgumentError(
        absl::StrCat("damaged .npz archive: entry ", index, " cannot be read"));
  }
  absl::string_view name = stat.name;
  if (!absl::ConsumeSuffix(&name, ".npy")) return absl::OkStatus();
  if (Find(name) != nullptr) return AtArray(name, "its name occurs twice");
  arrays_.push_back({std::string(name), index, stat.size});
  return absl::OkStatus();
}

const NpzArchive::Array* NpzArchive::Find(absl::string_view name) const {
  const auto found =
      std::find_if(arrays_.begin(), arrays_.end(),
                   [&](const Array& array) { return array.name == name; });
  return found == arrays_.end() ? nullptr : &*found;
}

absl::StatusOr<std::string> NpzArchive::ReadStart(const Array& array,
                                                  uint64_t bytes_max) const {
  const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> file(
      zip_fopen_index(handle_.get(), array.index, 0), zip_fclose);
  if (file == nullptr) {
    return AtArray(array.name,
                   absl::StrCat("cannot be read: ",
                                base::Printable(zip_strerror(handle_.get()))));
  }
  // Grows with what comes: the directory may promise what is not there.
  std::string bytes;
  char chunk[1 << 16];
  while (bytes.size() < bytes_max) {
    const zip_int64_t got =
        zip_fread(file.get(), chunk,
                  std::min<uint64_t>(sizeof chunk, bytes_max - bytes.size()));
    if (got <= 0) break;
    bytes.append(chunk, static_cast<size_t>(got));
  }
  if (bytes_max < array.bytes) return bytes;
  // The read at the end is where libzip compares length and CRC.
  if (bytes.size() != array.bytes || zip_fread(file.get(), chunk, 1) != 0) {
    return AtArray(
        array.name,
        absl::StrCat(
            "is damaged (", bytes.size(), " of ", array.bytes,
            " bytes): ", base::Printable(zip_file_strerror(file.get()))));
  }
  return bytes;
}

absl::StatusOr<std::string> NpzArchive::Read(const Array& array) {
  if (array.bytes > bytes_left_) {
    return AtArray(array.name, absl::StrCat("unpacks to ", array.bytes,
                                            " bytes, wanted at "
                                            "most ",
                                            bytes_left_, " (", kNpzBytesMax,
                                            " for all arrays together)"));
  }
  bytes_left_ -= array.bytes;
  return ReadStart(array, array.bytes);
}

absl::StatusOr<NpzArchive::Array> NpzArchive::Choose(
    absl::string_view name) const {
  if (name.empty() && arrays_.size() == 1) return arrays_.front();
  const Array* found = Find(name);
  if (!name.empty() && found != nullptr) return *found;
  return absl::InvalidArgumentError(absl::StrCat(
      name.empty()
          ? absl::StrCat("got ", arrays_.size(),
                         " arrays, wanted one: choose with FILE:KEY")
          : absl::StrCat("got no array '", base::Printable(name, 80), "'"),
      "; there is: ", ListText()));
}

std::string NpzArchive::ListText() const {
  std::vector<std::string> texts;
  for (const Array& array : arrays_) {
    if (texts.size() == kListedMax) {
      texts.push_back(
          absl::StrCat("and ", arrays_.size() - kListedMax, " more"));
      break;
    }
    const std::string name = base::Printable(array.name, 80);
    const auto start =
        ReadStart(array, std::min<uint64_t>(array.bytes, kNpyPrefixBytesMax));
    const auto header = start.ok() ? ParseNpyHeader(*start)
                                   : absl::StatusOr<NpyHeader>(start.status());
    texts.push_back(header.ok()
                        ? absl::StrCat(name, " ", header->type.name(), " (",
                                       absl::StrJoin(header->shape, ", "), ")")
                        : absl::StrCat(name, " (no numbers)"));
  }
  return absl::StrJoin(texts, ", ");
}

}  // namespace fff::cli
