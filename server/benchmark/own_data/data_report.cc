#include "server/benchmark/own_data/data_report.h"

#include <algorithm>
#include <cmath>

namespace fff::benchmark {

absl::string_view Name(TruthKind kind) {
  switch (kind) {
    case TruthKind::kNone:
      return "none";
    case TruthKind::kClasses:
      return "classes";
    case TruthKind::kNumbers:
      return "numbers";
  }
  return "unknown";
}

const Measurement& DataReport::Measured(size_t at,
                                        const BenchmarkCase& one) const {
  if (at == 0) return one.fff;
  return at == 1 ? one.dense : one.other_baselines[at - 2];
}

Interval DataReport::Quality(size_t at) const {
  const Losses& losses = candidates[at].losses;
  if (truth == TruthKind::kClasses) {
    const auto answers = static_cast<int64_t>(losses.size());
    return ShareRight(std::count(losses.begin(), losses.end(), 0.0), answers);
  }
  const Interval squares = MeanLoss(losses);
  return {std::sqrt(squares.value), std::sqrt(std::max(0.0, squares.low)),
          std::sqrt(squares.high)};
}

Interval DataReport::Worse(size_t at, size_t than) const {
  const Losses& a = candidates[at].losses;
  const Losses& b = candidates[than].losses;
  return truth == TruthKind::kClasses ? MoreWrong(a, b) : MoreLoss(a, b);
}

std::optional<size_t> DataReport::Best() const {
  std::optional<size_t> best;
  for (size_t at = 0; at < candidates.size(); ++at) {
    if (!Judged(at)) continue;
    if (!best.has_value() || Worse(at, *best).value < 0) best = at;
  }
  return best;
}

}  // namespace fff::benchmark
