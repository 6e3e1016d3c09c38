#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace fff::base {

// Lines to a file, written by a thread of their own: whoever adds a line never
// waits for the disk or the reader of a pipe. What comes faster than it can be
// written is dropped and counted. Thread-safe.
class LineLog {
 public:
  // Lines that wait to be written, and their bytes.
  static constexpr size_t kLinesMax = 8192;
  static constexpr size_t kBytesMax = size_t{4} << 20;

  // Appends to `path`; "-" is standard output. The error says what the system
  // said.
  static absl::StatusOr<std::unique_ptr<LineLog>> Open(
      const std::string& path, const std::string& thread_name);
  // Writes what waits.
  ~LineLog();

  // `line` holds no newline. False when it was dropped.
  bool Add(std::string line);
  uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  LineLog(int fd, const std::string& thread_name);
  void Loop();
  void WriteAll(absl::string_view text);

  const int fd_;
  absl::Mutex mutex_;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::string waiting_ ABSL_GUARDED_BY(mutex_);
  size_t waiting_lines_ ABSL_GUARDED_BY(mutex_) = 0;
  std::atomic<uint64_t> dropped_{0};
  std::thread thread_;
};

}  // namespace fff::base
