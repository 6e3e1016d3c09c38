#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"

namespace fff::base {

// How far a long piece of work is, for those who watch it, and their word to
// end it. One thread works; any thread may watch or cancel.
class Progress {
 public:
  struct View {
    const char* stage = "waiting";  // what is being done, "reading"
    int64_t done = 0;               // bytes of the stage
    int64_t total = 0;              // 0: nobody knows
    double seconds = 0;             // since the work began

    // "reading, 1.20 of 4.30 GB".
    std::string ToString() const;
  };

  // `tell` is called by the worker on its way, about every `period` of the
  // work, so never for work that takes less.
  explicit Progress(
      std::function<void(const View&)> tell = nullptr,
      std::chrono::steady_clock::duration period = std::chrono::seconds(5));
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // The worker's: the next stage, of `total` bytes. `stage` is a literal.
  void Begin(const char* stage, int64_t total);
  // The worker's: `bytes` more are done. CANCELLED when the work is to end.
  absl::Status Advance(int64_t bytes);

  void Cancel() { cancelled_.store(true); }
  bool cancelled() const { return cancelled_.load(); }
  View view() const;

 private:
  const std::function<void(const View&)> tell_;
  const std::chrono::steady_clock::duration period_;
  const std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point told_;  // the worker's
  std::atomic<const char*> stage_;
  std::atomic<int64_t> done_{0};
  std::atomic<int64_t> total_{0};
  std::atomic<bool> cancelled_{false};
};

// The same of work that nobody may watch: `progress` may be null.
inline void Begin(Progress* progress, const char* stage, int64_t total) {
  if (progress != nullptr) progress->Begin(stage, total);
}
inline absl::Status Advance(Progress* progress, int64_t bytes) {
  return progress == nullptr ? absl::OkStatus() : progress->Advance(bytes);
}

}  // namespace fff::base
