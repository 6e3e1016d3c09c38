#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/benchmark/own_data/data_report.h"

// What to deploy at which batch size. Pure.
//
// The most accurate candidate is the best. A candidate is as good when the 95 %
// interval of its difference to the best, on the same rows, reaches 0. One is
// as fast as another when their times from p10 to p90 overlap. Of those that
// are as good, the fastest is recommended; of those that are as fast as it, the
// most accurate. Nothing is recommended
//   - without at least two candidates whose answers can be compared
//   - where other processes disturbed the measurement (disturbance.h)
//   - where the rows are so few that it may lose more than kLossUnknown against
//     another candidate: where the interval of their difference reaches so far.
// Of a faster candidate that is not as good, the advice says what it would win
// and lose.
namespace fff::benchmark {

// Of accuracy; of the mean square error, this part of the best one's.
inline constexpr double kLossUnknown = 0.03;
inline constexpr double kErrorUnknown = 0.1;

// The rule, for people.
absl::string_view AdviceRule();

struct Advice {
  int64_t rows_min = 0;  // batch sizes that were measured
  int64_t rows_max = 0;
  std::optional<size_t> choice;  // nothing: no recommendation
  std::string sentence;          // without the rows, without a full stop
};

// Ascending by rows; batch sizes next to each other with the same choice are
// one. Without truth there is none.
std::vector<Advice> Advise(const DataReport& report);

// "rows 1 to 16: the FFF, ..", a line for each.
std::string AdviceText(const std::vector<Advice>& advice);

}  // namespace fff::benchmark
