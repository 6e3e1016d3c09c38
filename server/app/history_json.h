#pragma once

#include <string>

#include "absl/time/time.h"
#include "server/metrics/history.h"

namespace fff::app {

// The last minute, as JSON for the status page: {"ages_s": [..], "series":
// [{"model", "version", "implementation", "steps": [{"age_s", "rows",
// "compute_s", "duration_s", "codes": {CODE: n}, "durations": {LE: n},
// "batch_rows": {LE: n}, "costs": {LE: [rows, seconds]}}]}]}. `ages_s` says how
// long ago the samples were taken, oldest first. A step lasts from its `age_s`,
// which is one of them, to the next; it is missing where nothing was asked. LE
// are the labels `le` and `batch_rows` of the metrics; what is 0 is left out.
// Counts are not cumulative.
std::string HistoryJson(const metrics::HistoryView& view, absl::Time now);

}  // namespace fff::app
