#include "server/base/file_bytes.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "server/base/memory_info.h"

namespace fff::base {
namespace {

constexpr size_t kHugePageBytes = size_t{2} << 20;

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

bool SameContent(const struct stat& a, const struct stat& b) {
  return a.st_size == b.st_size && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
         a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

absl::Status ChangedMeanwhile(const std::string& path) {
  return absl::AbortedError(absl::StrCat(
      path, ": changed while it was read; it is still being written"));
}

// Fills `size` bytes from the start of the file.
absl::Status ReadAll(int fd, const std::string& path, std::byte* data,
                     size_t size) {
  size_t done = 0;
  while (done < size) {
    const ssize_t got = read(fd, data + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
    }
    if (got == 0) return ChangedMeanwhile(path);  // truncated
    done += static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

absl::Status CheckKind(const struct stat& info, const std::string& path) {
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": not a regular file"));
  }
  const int64_t memory = AvailableMemoryBytes();
  if (memory > 0 && info.st_size > memory) {
    return absl::ResourceExhaustedError(
        absl::StrCat(path, ": has ", info.st_size,
                     " bytes, more than the memory of ", memory, " bytes"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const FileBytes>> FileBytes::Read(
    const std::string& path) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  const FileDescriptor fd(
      open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  }
  struct stat before;
  if (fstat(fd.get(), &before) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot stat ", path));
  }
  if (absl::Status kind = CheckKind(before, path); !kind.ok()) return kind;
  const auto size = static_cast<size_t>(before.st_size);
  std::byte* data = nullptr;
  if (size > 0) {
    void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
      return absl::ResourceExhaustedError(
          absl::StrCat(path, ": no memory for its ", before.st_size, " bytes"));
    }
    // Walks jump between far pages; without huge ones each jump misses the TLB.
    if (size >= kHugePageBytes) madvise(memory, size, MADV_HUGEPAGE);
    data = static_cast<std::byte*>(memory);
  }
  const std::shared_ptr<const FileBytes> file(new FileBytes(path, data, size));
  const absl::Status read = ReadAll(fd.get(), path, data, size);
  if (!read.ok()) return read;
  struct stat after;
  if (fstat(fd.get(), &after) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot stat ", path));
  }
  if (!SameContent(before, after)) return ChangedMeanwhile(path);
  return file;
}

FileBytes::~FileBytes() {
  if (size_ > 0) munmap(data_, size_);
}

}  // namespace fff::base
