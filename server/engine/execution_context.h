#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "server/tensor/float_array.h"

namespace fff::engine {

// Scratch memory of one thread: an arena that scopes take from and give back
// to. It grows to the most that was taken at once and is then reused, so a warm
// request allocates nothing.
class Workspace {
 public:
  int64_t floats() const;  // held, taken or not

 private:
  friend class ScratchScope;
  struct Mark {
    size_t block = 0;
    int64_t used = 0;
  };
  float* Take(int64_t floats);
  void GiveBack(const Mark& mark);

  std::vector<tensor::FloatBuffer> blocks_;
  Mark at_;  // everything before it is taken
};

// What a stretch of code takes from a workspace; scopes nest, and the end of
// one gives back what was taken since its start.
class ScratchScope {
 public:
  explicit ScratchScope(Workspace& workspace)
      : workspace_(workspace), mark_(workspace.at_) {}
  ~ScratchScope() { workspace_.GiveBack(mark_); }
  ScratchScope(const ScratchScope&) = delete;
  ScratchScope& operator=(const ScratchScope&) = delete;

  // 64-byte aligned, contents undefined, valid until the scope ends.
  float* Floats(int64_t count) { return workspace_.Take(count); }
  int32_t* Ints(int64_t count) {
    return reinterpret_cast<int32_t*>(workspace_.Take(count));
  }
  Workspace& workspace() { return workspace_; }

 private:
  Workspace& workspace_;
  Workspace::Mark mark_;
};

// What a kernel may use while it runs: a number of threads and their scratch
// memory. Owned by one caller at a time; not thread-safe itself.
class ExecutionContext {
 public:
  // threads >= 1. The calling thread counts as one; threads - 1 are started.
  explicit ExecutionContext(int threads);
  ~ExecutionContext();
  ExecutionContext(const ExecutionContext&) = delete;
  ExecutionContext& operator=(const ExecutionContext&) = delete;

  int threads() const { return threads_; }
  // Whether the caller knows that no input holds NaN or infinity. Else a kernel
  // whose library loses NaN on the way looks, and takes another way.
  bool finite_input() const { return finite_input_; }
  void set_finite_input(bool finite) { finite_input_ = finite; }
  // Scratch of thread `index`, 0 <= index < threads().
  Workspace& workspace(int index) {
    return workspaces_[static_cast<size_t>(index)];
  }

  // Splits [0, count) into contiguous ranges of at least `grain` (the last may
  // be smaller), runs body(begin, end, thread_index) on up to threads() threads
  // and returns when all are done. The split depends only on count, grain and
  // threads(). With one range the body runs on the calling thread.
  void ParallelFor(int64_t count, int64_t grain,
                   const std::function<void(int64_t begin, int64_t end,
                                            int thread_index)>& body);

 private:
  class Pool;
  int threads_;
  bool finite_input_ = false;
  std::vector<Workspace> workspaces_;
  std::unique_ptr<Pool> pool_;  // null when threads_ == 1
};

}  // namespace fff::engine
