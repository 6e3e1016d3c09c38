#include "server/benchmark/format.h"

#include <cmath>

#include "absl/strings/str_format.h"

namespace fff::benchmark {

std::string FormatNumber(double value) {
  if (!std::isfinite(value)) return "-";
  const double magnitude = std::abs(value);
  // The limits are where rounding would add a digit (9.995 prints as 10.0).
  if (magnitude < 9.995) return absl::StrFormat("%.2f", value);
  if (magnitude < 99.95) return absl::StrFormat("%.1f", value);
  return absl::StrFormat("%.0f", value);
}

std::string FormatSeconds(double seconds) {
  if (!std::isfinite(seconds) || seconds <= 0) return "-";
  if (seconds < 999.5e-9) return FormatNumber(seconds * 1e9) + " ns";
  if (seconds < 999.5e-6) return FormatNumber(seconds * 1e6) + " µs";
  if (seconds < 999.5e-3) return FormatNumber(seconds * 1e3) + " ms";
  return FormatNumber(seconds) + " s";
}

std::string FormatTimes(double ratio) { return FormatNumber(ratio) + "x"; }

}  // namespace fff::benchmark
