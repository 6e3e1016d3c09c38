#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "server/engine/execution_context.h"
#include "server/engine/kernel.h"
#include "server/tensor/float_array.h"

namespace fff::engine {

// Times kernels that compute the same thing, on one thread, over random
// standard-normal rows (a fixed seed). Owned by one thread.
class KernelStopwatch {
 public:
  // Rows and outputs take at most 64 MiB. The kernels outlive the stopwatch.
  KernelStopwatch(std::vector<const Kernel*> kernels, int64_t input_width,
                  int64_t output_width);
  // Batches that the bound on memory allows; may be 0.
  int64_t rows_max() const { return rows_max_; }
  // Seconds of one call of kernel `k` on a batch of `rows` rows, at most
  // rows_max(). The mean of as many calls as take ten microseconds; the first
  // sample of a batch size warms up and counts how many those are. Small
  // batches take other rows from call to call, so that they do not stay on one
  // path.
  double Sample(size_t k, int64_t rows);

 private:
  void Prepare(int64_t rows);
  double TimeCalls(size_t k, int64_t calls);

  const std::vector<const Kernel*> kernels_;
  const int64_t input_width_;
  const int64_t output_width_;
  const int64_t rows_max_;
  ExecutionContext context_;
  tensor::FloatBuffer x_;
  tensor::FloatBuffer y_;
  int64_t rows_ = 0;            // of the batch size that is measured
  int64_t rows_in_all_ = 0;     // calls take them by turns
  std::vector<int64_t> calls_;  // of a sample of each kernel; 0: not yet known
  std::vector<int64_t> turns_;  // calls of each kernel so far
};

}  // namespace fff::engine
