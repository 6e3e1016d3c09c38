#include "server/base/line_log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/thread.h"

namespace fff::base {

absl::StatusOr<std::unique_ptr<LineLog>> LineLog::Open(
    const std::string& path, const std::string& thread_name) {
  const int fd =
      path == "-"
          ? dup(STDOUT_FILENO)
          : open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
  if (fd < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot write to ", path, ": ", strerror(errno)));
  }
  return std::unique_ptr<LineLog>(new LineLog(fd, thread_name));
}

LineLog::LineLog(int fd, const std::string& thread_name)
    : fd_(fd), thread_(StartThread(thread_name, [this] { Loop(); })) {}

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
  absl::MutexLock lock(&mutex_);
  if (waiting_lines_ >= kLinesMax ||
      waiting_.size() + line.size() > kBytesMax) {
    dropped_.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  waiting_ += line;
  ++waiting_lines_;
  return true;
}

void LineLog::Loop() {
  bool ending = false;
  while (!ending) {
    std::string text;
    {
      absl::MutexLock lock(&mutex_);
      const auto work = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
        return ending_ || waiting_lines_ > 0;
      };
      mutex_.Await(absl::Condition(&work));
      text.swap(waiting_);
      waiting_lines_ = 0;
      ending = ending_;
    }
    WriteAll(text);
  }
}

void LineLog::WriteAll(absl::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd_, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {  // a full disk or a closed pipe; serving goes on
      dropped_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    text.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace fff::base
