#pragma once

#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace fff::app {

// Blocks SIGTERM, SIGINT and SIGHUP in this thread and all it starts later, and
// ignores SIGPIPE, SIGUSR1 and SIGUSR2, whose default ends the process. Call
// first thing in main: as process 1 of a container, a signal that comes before
// is lost. What came before a SignalThread is there waits for it.
void BlockSignals();

// A thread that takes the blocked signals of the process from its construction
// to its end; one at a time.
class SignalThread {
 public:
  // Called on the thread: `on_hangup` for every SIGHUP, `on_stop` for every
  // SIGTERM and SIGINT, before AwaitStop tells of it.
  SignalThread(std::function<void()> on_hangup, std::function<void()> on_stop);
  ~SignalThread();
  SignalThread(const SignalThread&) = delete;
  SignalThread& operator=(const SignalThread&) = delete;

  // Waits for a SIGTERM or SIGINT that no earlier wait was told of.
  void AwaitStop() { AwaitStop(absl::InfiniteDuration()); }
  // The same, but at most `timeout`; false when none came.
  bool AwaitStop(absl::Duration timeout);

 private:
  void Loop();

  const std::function<void()> on_hangup_;
  const std::function<void()> on_stop_;
  absl::Mutex mutex_;
  int stops_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace fff::app
