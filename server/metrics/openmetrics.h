#pragma once

#include <prometheus/metric_family.h>

#include <string>
#include <vector>

#include "server/metrics/exemplars.h"

namespace fff::metrics {

// A family with what prometheus-cpp 1.0 knows nothing of.
struct ExportedFamily {
  prometheus::MetricFamily family;
  std::string unit;
  double unit_scale = 1;  // from observed to exported values
  // Of a histogram: one list per metric of the family, and in it one per
  // bucket, as far as there are any.
  std::vector<std::vector<Exemplar>> exemplars;
};

// The families in the text format of OpenMetrics 1.0. Values of labels are as
// in the Prometheus text, "le" included, so that a scraper that changes the
// format goes on with the same series.
std::string OpenMetricsText(const std::vector<ExportedFamily>& families);

}  // namespace fff::metrics
