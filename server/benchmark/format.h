#pragma once

#include <string>

namespace fff::benchmark {

// Three significant digits with a unit: "392 ns", "1.27 µs", "10.5 ms",
// "1.2 s"; "-" when not positive or not finite.
std::string FormatSeconds(double seconds);

// "1.27", "75.3", "1240": three significant digits without an exponent, whole
// from 100 on; "-" when not finite.
std::string FormatNumber(double value);

// "4.13x" of a ratio of two times.
std::string FormatTimes(double ratio);

}  // namespace fff::benchmark
