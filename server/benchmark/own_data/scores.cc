#include "server/benchmark/own_data/scores.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace fff::benchmark {

Interval ShareRight(int64_t right, int64_t answers) {
  const auto n = static_cast<double>(answers);
  const double p = static_cast<double>(right) / n;
  const double z2 = kZ95 * kZ95 / n;
  const double centre = (p + z2 / 2) / (1 + z2);
  const double half =
      kZ95 / (1 + z2) * std::sqrt(p * (1 - p) / n + z2 / (4 * n));
  return {p, centre - half, centre + half};
}

Interval MoreWrong(absl::Span<const double> a, absl::Span<const double> b) {
  double only_a = 0;
  double only_b = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] > b[i]) ++only_a;
    if (b[i] > a[i]) ++only_b;
  }
  const auto n = static_cast<double>(a.size());
  const double wide = n + 2;
  const double more = (only_a - only_b) / wide;
  const double half =
      kZ95 *
      std::sqrt(std::max(0.0, (only_a + only_b + 1) / wide - more * more) /
                wide);
  return {(only_a - only_b) / n, more - half, more + half};
}

Interval MeanLoss(absl::Span<const double> a) {
  const auto n = static_cast<double>(a.size());
  double sum = 0;
  for (const double loss : a) sum += loss;
  const double mean = sum / n;
  if (a.size() < 2) {
    constexpr double kNoEnd = std::numeric_limits<double>::infinity();
    return {mean, -kNoEnd, kNoEnd};
  }
  double squares = 0;
  for (const double loss : a) squares += (loss - mean) * (loss - mean);
  const double half = kZ95 * std::sqrt(squares / (n - 1) / n);
  return {mean, mean - half, mean + half};
}

Interval MoreLoss(absl::Span<const double> a, absl::Span<const double> b) {
  Losses more(a.size());
  for (size_t i = 0; i < a.size(); ++i) more[i] = a[i] - b[i];
  return MeanLoss(more);
}

}  // namespace fff::benchmark
