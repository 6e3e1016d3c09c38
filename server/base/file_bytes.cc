#include "server/base/file_bytes.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "server/base/cpu_info.h"
#include "server/base/memory_info.h"
#include "server/base/status_macros.h"
#include "server/base/thread.h"

namespace fff::base {
namespace {

constexpr size_t kHugePageBytes = size_t{2} << 20;
// Between two words with whoever waits: some 10 ms of a file in the page cache.
constexpr size_t kStepBytes = size_t{64} << 20;
// Fresh pages take longer than the copy into them: 2.15 GB of the page cache in
// 0.42 to 2.9 s by one thread, in 0.23 to 0.39 s by two (two cores).
constexpr size_t kReadersMax = 8;

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

// Fills `size` bytes from those of the file at `offset`.
absl::Status ReadAt(int fd, const std::string& path, size_t offset,
                    std::byte* data, size_t size) {
  size_t done = 0;
  while (done < size) {
    const ssize_t got =
        pread(fd, data + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
    }
    if (got == 0) return ChangedMeanwhile(path);  // truncated
    done += static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

// Reads a file by steps, which several threads take.
class StepReader {
 public:
  StepReader(int fd, const std::string& path, std::byte* data, size_t size)
      : fd_(fd), path_(path), data_(data), size_(size) {}

  // Takes steps until there are none left or one has failed; tells `progress`,
  // which may be null, of what all have read.
  void Work(Progress* progress) {
    while (true) {
      const size_t offset = next_.fetch_add(kStepBytes);
      if (offset >= size_) return;
      const size_t size = std::min(size_ - offset, kStepBytes);
      absl::Status read = ReadAt(fd_, path_, offset, data_ + offset, size);
      done_ += size;
      if (read.ok() && progress != nullptr) read = Tell(*progress);
      if (!read.ok()) return Fail(std::move(read));
    }
  }

  // The worker's that has told before.
  absl::Status Tell(Progress& progress) {
    const size_t done = done_.load();
    return progress.Advance(
        static_cast<int64_t>(done - std::exchange(told_, done)));
  }

  absl::Status status() const {
    absl::MutexLock lock(&mutex_);
    return status_;
  }

 private:
  void Fail(absl::Status status) {
    next_.store(size_);
    absl::MutexLock lock(&mutex_);
    status_.Update(std::move(status));
  }

  const int fd_;
  const std::string& path_;
  std::byte* const data_;
  const size_t size_;
  std::atomic<size_t> next_{0};
  std::atomic<size_t> done_{0};
  size_t told_ = 0;  // the worker's with a progress
  mutable absl::Mutex mutex_;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

// Fills `size` bytes from the start of the file.
absl::Status ReadAll(int fd, const std::string& path, std::byte* data,
                     size_t size, Progress* progress) {
  Begin(progress, "reading", static_cast<int64_t>(size));
  StepReader reader(fd, path, data, size);
  const size_t steps = (size + kStepBytes - 1) / kStepBytes;
  const auto readers =
      std::min({steps, kReadersMax, static_cast<size_t>(AvailableCpus())});
  std::vector<std::thread> helpers;
  helpers.reserve(readers);
  try {
    for (size_t i = 1; i < readers; ++i) {
      helpers.push_back(
          StartThread("fff-reader", [&reader] { reader.Work(nullptr); }));
    }
  } catch (const std::system_error&) {
    // No more threads are to be had: those that there are read it all.
  }
  reader.Work(progress);
  for (std::thread& helper : helpers) helper.join();
  FFF_RETURN_IF_ERROR(reader.status());
  return progress == nullptr ? absl::OkStatus() : reader.Tell(*progress);
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
    const std::string& path, Progress* progress) {
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
  const absl::Status read = ReadAll(fd.get(), path, data, size, progress);
  if (!read.ok()) return read;
  struct stat after;
  if (fstat(fd.get(), &after) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot stat ", path));
  }
  if (!SameContent(before, after)) return ChangedMeanwhile(path);
  return file;
}

std::shared_ptr<const void> FileBytes::KeepPart(
    std::shared_ptr<const FileBytes> file, absl::Span<const std::byte> part) {
  const auto* const data = static_cast<const void*>(part.data());
  return {data, [file = std::move(file), part](const void*) {
            static const auto kPage =
                static_cast<size_t>(sysconf(_SC_PAGESIZE));
            std::byte* const all = file->data_;
            const auto begin = static_cast<size_t>(part.data() - all);
            const size_t first = (begin + kPage - 1) / kPage * kPage;
            const size_t end = (begin + part.size()) / kPage * kPage;
            if (end > first) madvise(all + first, end - first, MADV_DONTNEED);
          }};
}

FileBytes::~FileBytes() {
  if (size_ > 0) munmap(data_, size_);
}

}  // namespace fff::base
