#pragma once

#include <string>

#include "server/metrics/server_metrics.h"

namespace fff::metrics {

// The Content-Type of ExportText.
inline constexpr char kTextContentType[] = "text/plain; version=0.0.4";

// Everything of MetricTable() in Prometheus text format, histograms cumulative,
// durations in seconds. Series that were never written are left out, except
// that every family is present once a model is loaded. `server_ready`: whether
// the server as a whole wants traffic.
std::string ExportText(const ServerMetrics& metrics, bool server_ready);

}  // namespace fff::metrics
