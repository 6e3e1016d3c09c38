#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/benchmark/report.h"

namespace fff::benchmark {

// What ReportJson wrote, read back: ReportJson of the result is the same text.
// Unknown keys are passed over. INVALID_ARGUMENT says what is missing or of
// another type.
absl::StatusOr<BenchmarkReport> ParseReport(absl::string_view json);

}  // namespace fff::benchmark
