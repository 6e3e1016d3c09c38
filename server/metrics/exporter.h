#pragma once

#include <string>

#include "server/metrics/server_metrics.h"
#include "server/metrics/text_format.h"

namespace fff::metrics {

// Everything of MetricTable(), histograms cumulative, durations in seconds.
// Series that were never written are left out, except that every family is
// present once a model is loaded. `server_ready`: whether the server as a whole
// wants traffic.
std::string ExportText(const ServerMetrics& metrics, bool server_ready,
                       TextFormat format = TextFormat::kPrometheus);

}  // namespace fff::metrics
