#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/engine/device/device.h"
#include "server/engine/execution_context.h"
#include "server/tensor/float_array.h"

namespace fff::engine {

// Copies rows between a caller's memory and the page-locked memory of lanes.
// One thread of a host copies 5 GB/s, a tenth of what its link to a GPU moves
// each way, so large copies are shared by several threads. They are the same
// for all programs of an engine: copies of two batches take turns, each at full
// speed. Thread-safe.
class HostCopies {
 public:
  // threads >= 1, the caller's included.
  explicit HostCopies(int threads) : context_(threads) {}
  // With as many threads, at most `threads_max`, as copy fastest to and from
  // page-locked memory of `device`; takes some 50 ms.
  static absl::StatusOr<std::unique_ptr<HostCopies>> Measured(Device& device,
                                                              int threads_max);

  int threads() const;

  // The rows of x as elements of `type` in rows of `pitch` elements; what lies
  // between a row's width and its pitch stays.
  void In(tensor::ConstRows x, WeightType type, int64_t pitch, void* to);
  // And back.
  void Out(const void* from, WeightType type, int64_t pitch,
           tensor::MutableRows y);

 private:
  void Share(int64_t rows, int64_t row_bytes,
             absl::FunctionRef<void(int64_t begin, int64_t end)> copy);

  mutable absl::Mutex mutex_;
  ExecutionContext context_ ABSL_GUARDED_BY(mutex_);
};

// Of (threads, seconds) in rising order of threads: the fewest threads that are
// within a tenth of the fastest, since the others serve requests meanwhile.
int ThreadsToCopyWith(const std::vector<std::pair<int, double>>& measured);

}  // namespace fff::engine
