#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/serving/repository/model_registry.h"

namespace fff::app {

// The status page: one HTML document (UTF-8) with its style, scripts and the
// chart library inside, built from status_page/. It asks only for /metrics and
// /status.json of the server it came from.
absl::string_view StatusPage();

// What the page may do, for the Content-Security-Policy header: its own parts
// and requests to its own server, nothing else.
inline constexpr char kStatusPagePolicy[] =
    "default-src 'none'; script-src 'unsafe-inline'; style-src "
    "'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'";

// What the server itself is, beside its models.
struct StatusFacts {
  std::string version;
  std::string cpu;  // the processor as the kernel names it
  int threads = 0;
  bool ready = false;
  std::string ready_when;         // as the flag says it
  std::string not_ready_because;  // "" when ready
};

// What metrics cannot say, as JSON: {"server": {...}, "models": [{"name",
// "version", "state", "reason", "default", "accuracy", "implementations":
// [{"name", "device", "description", "weights_bytes", "assumed", "precision",
// "load_seconds", "layers": [{"type", "description", "depth", "kernels":
// [{"rows_min", "kernel", "reason"}]}], "layer_times": {"batches", "rows",
// "tokens", "groups": [{"layer", "count", "feedforward", "seconds"}]}}]}]}.
// layer_times adds up the batches that were sampled since the version was first
// loaded, null without any. Its groups are the same for both implementations.
// Ordered as `versions`; text that is not UTF-8 is made so.
std::string StatusJson(const StatusFacts& facts,
                       const std::vector<serving::VersionStatus>& versions);

}  // namespace fff::app
