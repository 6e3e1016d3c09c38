#pragma once

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace fff::metrics {

enum class MetricType { kCounter, kGauge, kHistogram };
absl::string_view Name(MetricType type);

// One exported metric. `labels` is a comma-separated list in the order in which
// they are exported; `unit` is "seconds", "bytes", "rows", "ratio" or "".
struct MetricDescription {
  absl::string_view name;
  MetricType type;
  absl::string_view unit;
  absl::string_view labels;
  absl::string_view help;
};

// Every metric that the server exports, in the order of /metrics. The exporter
// emits nothing else, and a test holds the documentation against this table.
absl::Span<const MetricDescription> MetricTable();

// The row named `name`; it must exist.
const MetricDescription& DescriptionOf(absl::string_view name);

}  // namespace fff::metrics
