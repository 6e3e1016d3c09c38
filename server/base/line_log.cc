#include "server/base/line_log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/log.h"
#include "server/base/thread.h"

namespace fff::base {
namespace {

constexpr absl::string_view kStandardOutput = "-";

// Below 0 with errno set. A named pipe that nobody reads is an error, not a
// wait for a reader.
int OpenToAppend(const std::string& path) {
  if (path == kStandardOutput) return dup(STDOUT_FILENO);
  const int fd =
      open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK,
           0640);
  if (fd >= 0) fcntl(fd, F_SETFL, O_APPEND);  // now writing may wait
  return fd;
}

bool IsEmptyFile(int fd) {
  struct stat info;
  return fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size == 0;
}

uint64_t LinesOf(absl::string_view text) {
  return static_cast<uint64_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

absl::StatusOr<std::unique_ptr<LineLog>> LineLog::Open(LineLogOptions options) {
  const int fd = OpenToAppend(options.path);
  if (fd < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot write ", options.name, " ", options.path, ": ",
                     strerror(errno)));
  }
  return std::unique_ptr<LineLog>(new LineLog(std::move(options), fd));
}

LineLog::LineLog(LineLogOptions options, int fd)
    : options_(std::move(options)),
      fd_(fd),
      thread_(StartThread(options_.thread_name, [this] { Loop(); })) {}

LineLog::~LineLog() {
  {
    absl::MutexLock lock(&mutex_);
    ending_ = true;
  }
  thread_.join();
  close(fd_);
}

bool LineLog::Add(std::string line) {
  line.push_back('\n');
  {
    absl::MutexLock lock(&mutex_);
    if (waiting_lines_ < kLinesMax &&
        waiting_.size() + line.size() <= kBytesMax) {
      waiting_ += line;
      ++waiting_lines_;
      return true;
    }
  }
  CountLost(1);
  return false;
}

void LineLog::Reopen() {
  if (options_.path == kStandardOutput) return;
  absl::MutexLock lock(&mutex_);
  reopen_ = true;
}

void LineLog::CountLost(uint64_t lines) {
  lost_.fetch_add(lines, std::memory_order_relaxed);
  options_.on_lost(lines);
}

void LineLog::Loop() {
  bool ending = false;
  while (!ending) {
    std::string text;
    bool reopen = false;
    {
      absl::MutexLock lock(&mutex_);
      const auto work = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
        return ending_ || reopen_ || waiting_lines_ > 0;
      };
      mutex_.Await(absl::Condition(&work));
      text.swap(waiting_);
      waiting_lines_ = 0;
      reopen = std::exchange(reopen_, false);
      ending = ending_;
    }
    if (reopen) OpenAgain();
    if (text.empty()) continue;
    const bool written = WriteAll(text);
    Report(written, written ? 0 : errno);
  }
}

void LineLog::OpenAgain() {
  const int fd = OpenToAppend(options_.path);
  if (fd < 0) {
    LogError(absl::StrCat("cannot open the ", options_.name, " ",
                          Printable(options_.path), " again: ", strerror(errno),
                          "; the file that was open is written on"));
    return;
  }
  close(fd_);
  fd_ = fd;
}

bool LineLog::WriteAll(absl::string_view text) {
  std::string mended;
  bool mending = torn_ && !IsEmptyFile(fd_);  // as copytruncate leaves it
  if (mending) {
    mended = absl::StrCat("\n", text);
    text = mended;
  }
  while (!text.empty()) {
    const ssize_t written = write(fd_, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {  // a full disk or a closed pipe; serving goes on
      const int error_number = errno;
      CountLost(LinesOf(text) - (mending ? 1 : 0));
      errno = error_number;
      return false;
    }
    mending = false;
    torn_ = text[static_cast<size_t>(written) - 1] != '\n';
    text.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

void LineLog::Report(bool written, int error_number) {
  if (written == !losing_) return;
  if (!written) {
    // A disk on the brink fails and works in turns.
    if (absl::Now() < next_report_) return;
    next_report_ = absl::Now() + absl::Minutes(1);
    LogError(absl::StrCat("cannot write the ", options_.name, " ",
                          Printable(options_.path), ": ",
                          strerror(error_number),
                          "; its lines are lost and counted until that works "
                          "again"));
  } else {
    LogInfo(absl::StrCat("the ", options_.name, " ", Printable(options_.path),
                         " is written again; ", lost() - lost_told_,
                         " lines were lost"));
    lost_told_ = lost();
  }
  losing_ = !written;
}

}  // namespace fff::base
