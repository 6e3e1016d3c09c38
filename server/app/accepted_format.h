#pragma once

#include "absl/strings/string_view.h"
#include "server/metrics/text_format.h"

namespace fff::app {

// Which text of /metrics an Accept header asks for (RFC 9110, 12.5.1).
// OpenMetrics only where it is named, in version 1.0.0 or in none, and weighs
// no less than the Prometheus text; that is the answer to everything else, even
// to who accepts neither.
metrics::TextFormat AcceptedFormat(absl::string_view accept);

}  // namespace fff::app
