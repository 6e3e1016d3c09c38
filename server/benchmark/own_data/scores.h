#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

// How good answers are, and whether one side's are better than the other's on
// the same rows. Pure.
namespace fff::benchmark {

// Two-sided normal quantile of all intervals here.
inline constexpr double kZ95 = 1.959964;

struct Interval {
  double value = 0;
  double low = 0;  // of 95 %
  double high = 0;
};

// The share of right answers, 0..1; Wilson's interval. `answers` is above 0.
Interval ShareRight(int64_t right, int64_t answers);

// What each answer loses: 0 for a right class and 1 for a wrong one, or the
// mean square of the errors of its numbers.
using Losses = std::vector<double>;

// Classes: the shares of wrong answers of a minus those of b, on the same
// answers; Agresti and Min's interval for matched pairs (Statistics in Medicine
// 24, 2005), which adds half an answer to each cell. Both as long, not empty.
Interval MoreWrong(absl::Span<const double> a, absl::Span<const double> b);

// Numbers: the mean of a's losses, and of a's minus b's; normal intervals. An
// interval of one answer has no end.
Interval MeanLoss(absl::Span<const double> a);
Interval MoreLoss(absl::Span<const double> a, absl::Span<const double> b);

}  // namespace fff::benchmark
