#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "server/tensor/float_array.h"

namespace fff::engine {

// Scratch memory of one thread. Grows to the largest request seen and is then
// reused, so a warm request allocates nothing.
class Workspace {
 public:
  static constexpr int kSlots = 16;
  // At least `count` floats (int32 for Ints), 64-byte aligned, contents
  // undefined. Valid until the next call with the same slot and type.
  float* Floats(int slot, int64_t count);
  int32_t* Ints(int slot, int64_t count);

 private:
  tensor::FloatBuffer floats_[kSlots];
  std::vector<int32_t> ints_[kSlots];
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
  std::vector<Workspace> workspaces_;
  std::unique_ptr<Pool> pool_;  // null when threads_ == 1
};

}  // namespace fff::engine
