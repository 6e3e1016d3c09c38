#pragma once

#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"

namespace fff::serving {

// One thread for everything that allocates a model. The allocator keeps memory
// apart for every thread that asked for it, and it fragments: after ten rounds
// of loading and unloading 60 copies of the demo model by call, 170 MB stayed
// resident when each was loaded on the call's own thread, 40 MB when all were
// loaded on this one, of 23 MB before (glibc 2.36, with malloc_trim; without it
// 334 MB after three rounds of a similar run). Thread-safe.
class LoaderThread {
 public:
  LoaderThread();
  ~LoaderThread();
  LoaderThread(const LoaderThread&) = delete;
  LoaderThread& operator=(const LoaderThread&) = delete;

  // Calls `work` on the thread and returns when it has returned. Callers take
  // turns.
  void Run(absl::FunctionRef<void()> work);

 private:
  void Loop();

  absl::Mutex turn_mutex_;  // held by the caller whose turn it is
  absl::Mutex mutex_;
  const absl::FunctionRef<void()>* work_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace fff::serving
