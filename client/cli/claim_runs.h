#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/benchmark/claims/claim.h"
#include "server/benchmark/claims/claim_log.h"

namespace fff::cli {

struct ClaimRunsOptions {
  benchmark::ClaimLogKey key;
  // Runs in this file are not measured again unless other processes disturbed
  // them, and new ones are appended to it;
  // "" = nothing is kept.
  std::string resume;
};

struct MeasuredRuns {
  std::map<std::string, benchmark::RunRecord> records;  // by run's Name()
  std::map<std::string, std::string> left_out;          // with the reason
};

// Measures the runs here, one after the other, with the benchmark's own cases
// and runner; shows progress on a terminal. Every report passes through its
// line of the log, as a resumed one does. A run is left out when this machine
// has not the memory for its weights. Errors are those of the cases and of the
// file.
absl::StatusOr<MeasuredRuns> MeasureRuns(
    const std::vector<benchmark::ClaimRun>& runs,
    const ClaimRunsOptions& options);

}  // namespace fff::cli
