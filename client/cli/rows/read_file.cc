#include "client/cli/rows/read_file.h"

#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace fff::cli {
namespace {

struct Closer {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, Closer>;

absl::Status TooLarge(int64_t bytes_max) {
  return absl::InvalidArgumentError(
      absl::StrCat("larger than ", bytes_max, " bytes"));
}

absl::StatusOr<std::string> ReadBytes(const std::string& path) {
  const File file(std::fopen(path.c_str(), "rb"));
  if (file == nullptr) {
    return absl::ErrnoToStatus(errno, "cannot be opened");
  }
  struct stat status {};
  if (fstat(fileno(file.get()), &status) != 0 || S_ISDIR(status.st_mode)) {
    return absl::InvalidArgumentError("got a directory, wanted a file");
  }
  if (status.st_size > kFileBytesMax) return TooLarge(kFileBytesMax);
  std::string bytes;
  char chunk[1 << 16];
  for (size_t got = 0;
       (got = std::fread(chunk, 1, sizeof chunk, file.get())) > 0;) {
    bytes.append(chunk, got);
    if (static_cast<int64_t>(bytes.size()) > kFileBytesMax) {
      return TooLarge(kFileBytesMax);
    }
  }
  if (std::ferror(file.get()) != 0) {
    return absl::ErrnoToStatus(errno, "cannot be read");
  }
  return bytes;
}

// zlib's stream, ended on every way out.
class Inflater {
 public:
  // 32 above the window size: expect gzip's or zlib's header.
  Inflater() { ready_ = inflateInit2(&stream_, 15 + 32) == Z_OK; }
  ~Inflater() {
    if (ready_) inflateEnd(&stream_);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  bool ready() const { return ready_; }
  z_stream& stream() { return stream_; }

 private:
  z_stream stream_{};
  bool ready_ = false;
};

}  // namespace

absl::StatusOr<std::string> Gunzip(std::string bytes, int64_t bytes_max) {
  if (bytes.size() < 2 || bytes[0] != '\x1f' || bytes[1] != '\x8b') {
    return bytes;
  }
  Inflater inflater;
  if (!inflater.ready()) return absl::ResourceExhaustedError("zlib: no memory");
  z_stream& stream = inflater.stream();
  stream.next_in = reinterpret_cast<Bytef*>(bytes.data());
  stream.avail_in =
      static_cast<uInt>(std::min<size_t>(bytes.size(), kFileBytesMax));
  std::string out;
  char chunk[1 << 16];
  while (true) {
    stream.next_out = reinterpret_cast<Bytef*>(chunk);
    stream.avail_out = sizeof chunk;
    const int result = inflate(&stream, Z_NO_FLUSH);
    out.append(chunk, sizeof chunk - stream.avail_out);
    if (static_cast<int64_t>(out.size()) > bytes_max) {
      return TooLarge(bytes_max);
    }
    if (result == Z_STREAM_END) {
      if (stream.avail_in == 0) return out;
      if (inflateReset(&stream) != Z_OK) break;  // the next member
    } else if (result != Z_OK) {
      break;
    }
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "damaged or cut gzip stream after ", out.size(), " unpacked bytes"));
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  absl::StatusOr<std::string> bytes = ReadBytes(path);
  if (bytes.ok()) bytes = Gunzip(*std::move(bytes), kFileBytesMax);
  if (!bytes.ok()) return base::Annotate(bytes.status(), path);
  return bytes;
}

absl::Status WriteFile(const std::string& path, absl::string_view contents) {
  File file(std::fopen(path.c_str(), "wb"));
  if (file == nullptr) {
    return absl::ErrnoToStatus(errno,
                               absl::StrCat(path, ": cannot be written"));
  }
  const bool written = std::fwrite(contents.data(), 1, contents.size(),
                                   file.get()) == contents.size();
  if (std::fclose(file.release()) != 0 || !written) {
    return absl::ErrnoToStatus(errno,
                               absl::StrCat(path, ": cannot be written"));
  }
  return absl::OkStatus();
}

}  // namespace fff::cli
