#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/string_view.h"

// What the charts share: one style for light and dark screens, and scales.
namespace fff::benchmark {

// Of the picture, and of the field within the axes.
inline constexpr double kSvgWidth = 760;
inline constexpr double kSvgLeft = 78;
inline constexpr double kSvgRight = 736;
inline constexpr double kSvgTop = 84;
inline constexpr double kSvgBottom = 392;

// Classes of text: title, soft, strong; of lines: grid, axis, fff, dense,
// other, bound; of shapes: bg, band, fffdot, densedot, otherdot.
extern const absl::string_view kSvgStyle;

// Text for an element or attribute; control characters become '?'.
std::string SvgEscape(absl::string_view text);

// A text element; `attributes` are written as they are.
std::string SvgText(double x, double y, absl::string_view attributes,
                    absl::string_view text);
std::string SvgLine(absl::string_view css, double x1, double y1, double x2,
                    double y2);

// A point of a series: circles for "fff", squares for "dense", diamonds for
// "other". Colour is not the only difference.
std::string SvgMarker(absl::string_view css, double x, double y);

// Maps a positive value to a coordinate, logarithmically.
struct LogScale {
  double low;   // value at `from`
  double high;  // value at `to`
  double from;
  double to;
  double operator()(double value) const {
    const double part = std::log(value / low) / std::log(high / low);
    return from + std::clamp(part, 0.0, 1.0) * (to - from);
  }
};

// "10 µs" of a power of ten: decades are whole numbers of a unit.
std::string DecadeLabel(double seconds);

}  // namespace fff::benchmark
