#pragma once

#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "server/serving/repository/directory_watch.h"
#include "server/serving/repository/model_repository.h"

namespace fff::serving {

struct WatchOptions {
  // Between two looks when nothing was told of a change, at most.
  std::chrono::milliseconds poll_interval{5000};
  // Between two looks while changes come without end, at least.
  std::chrono::milliseconds gather_time{60};
  bool use_inotify = true;
};

// The thread that makes a ModelRepository look whenever something may have
// changed: when the system tells so, when time alone changes something, and
// every poll_interval anyway. Hands memory back to the system once what was
// unloaded is no longer held.
class RepositoryWatcher {
 public:
  // `repository` outlives the watcher.
  RepositoryWatcher(const WatchOptions& options, ModelRepository* repository)
      : options_(options),
        repository_(repository),
        watch_(options.use_inotify) {}
  // Stops.
  ~RepositoryWatcher() { Stop(); }
  RepositoryWatcher(const RepositoryWatcher&) = delete;
  RepositoryWatcher& operator=(const RepositoryWatcher&) = delete;

  // Starts the thread; call once.
  void Start();
  // Ends it. Blocks for a look that is under way.
  void Stop();
  // Makes it look, for RepositoryOptions::on_loaded. Does not block.
  void LookSoon() { watch_.Wake(); }

 private:
  void Loop();
  // Looks; returns the moment of the next look.
  Clock::time_point Look();
  // True while something that was unloaded is still held.
  bool ReturnMemory();

  const WatchOptions options_;
  ModelRepository* const repository_;
  DirectoryWatch watch_;  // the thread's; Wake is anybody's
  absl::Notification stop_;
  std::thread thread_;
  Released held_;  // the thread's
};

}  // namespace fff::serving
