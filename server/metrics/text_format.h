#pragma once

namespace fff::metrics {

// Only OpenMetrics has exemplars, those of the requests' durations, and units.
enum class TextFormat { kPrometheus, kOpenMetrics };

// The Content-Type of each.
inline constexpr char kTextContentType[] = "text/plain; version=0.0.4";
inline constexpr char kOpenMetricsContentType[] =
    "application/openmetrics-text; version=1.0.0; charset=utf-8";

}  // namespace fff::metrics
