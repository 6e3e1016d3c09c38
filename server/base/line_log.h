#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace fff::base {

struct LineLogOptions {
  std::string path;         // appended to; "-" is standard output
  std::string name;         // in the process log: "access log"
  std::string thread_name;  // of the writer
  // Told of lines that were lost, on the thread that lost them.
  std::function<void(uint64_t lines)> on_lost = [](uint64_t) {};
};

// Lines to a file, written by a thread of their own. So no caller waits for the
// disk or the reader of a pipe. Lines that come faster than they can be
// written, or that a full disk refuses, are lost and counted. The process log
// says once that it began and once that it ended, at most every minute.
// Thread-safe.
class LineLog {
 public:
  // Lines that wait to be written, and their bytes.
  static constexpr size_t kLinesMax = 8192;
  static constexpr size_t kBytesMax = size_t{4} << 20;

  // The error says what the system said.
  static absl::StatusOr<std::unique_ptr<LineLog>> Open(LineLogOptions options);
  // Writes what waits.
  ~LineLog();

  // `line` holds no newline. False when it was lost.
  bool Add(std::string line);
  // Opens the path anew before the next line, since whoever rotates logs has
  // moved the file; lines that were added before may go to either. What cannot
  // be opened is told in the process log, and the old file is written on.
  // Returns at once; nothing for standard output.
  void Reopen();
  uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }

 private:
  LineLog(LineLogOptions options, int fd);
  void Loop();
  void OpenAgain();
  // False when `text` was not written to its end.
  bool WriteAll(absl::string_view text);
  void CountLost(uint64_t lines);
  // On the writer's thread: begins or ends the time of lost lines.
  void Report(bool written, int error_number);

  const LineLogOptions options_;
  absl::Mutex mutex_;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  bool reopen_ ABSL_GUARDED_BY(mutex_) = false;
  std::string waiting_ ABSL_GUARDED_BY(mutex_);
  size_t waiting_lines_ ABSL_GUARDED_BY(mutex_) = 0;
  std::atomic<uint64_t> lost_{0};

  // The writer's own.
  int fd_;
  bool torn_ = false;       // the last line in the file lacks its end
  bool losing_ = false;     // and the process log says so
  uint64_t lost_told_ = 0;  // those lost before that
  absl::Time next_report_ = absl::InfinitePast();

  std::thread thread_;
};

}  // namespace fff::base
