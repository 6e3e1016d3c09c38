#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "server/engine/kernel.h"

// Measures kernels that compute the same thing, so that a plan can choose by
// what this machine does instead of by what was predicted.
namespace fff::engine {

// Least seconds of one call of each kernel, in their order, at one batch size.
struct TunedTimes {
  int64_t rows = 0;
  std::vector<double> seconds;
};

// Runs the kernels in turns on random standard-normal rows (a fixed seed), one
// thread, at 1, 2, 4, ... rows up to rows_max, and stops before the batch size
// that would exceed `budget_s` as the one before it predicts. So the result
// holds a prefix of these batch sizes, possibly none. Blocks the caller for
// about budget_s at most (the first batch size is always tried when the budget
// is positive); takes rows and outputs of at most 64 MiB. A budget of 0 or less
// measures nothing.
std::vector<TunedTimes> MeasureKernels(absl::Span<const Kernel* const> kernels,
                                       int64_t input_width,
                                       int64_t output_width, int64_t rows_max,
                                       double budget_s);

// Index of the fastest, but `predicted` as long as it is at most 5 % slower:
// what differs less than measurements do is no reason to change. Pure; seconds
// is not empty and predicted is in range.
size_t FastestKernel(absl::Span<const double> seconds, size_t predicted);

}  // namespace fff::engine
