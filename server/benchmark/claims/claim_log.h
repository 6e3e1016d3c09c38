#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/benchmark/claims/claim.h"
#include "server/benchmark/disturbance.h"
#include "server/benchmark/report.h"

// What was measured, as lines of JSON: one run per line, written when the run
// ends. Every figure of a claims report comes out of such a line, also when
// nothing is kept.
namespace fff::benchmark {

// What runs must share to stand in one report.
struct ClaimLogKey {
  std::string version;    // of this program
  std::string cpu_model;  // of this machine
  double seconds = 0;     // per implementation and run
  uint64_t seed = 1;
};

// What a run found.
struct RunRecord {
  BenchmarkReport report;  // of exactly one case
  // Part of the wall time in which the thread that ran waited for a processor
  // that another process had, 0..1.
  double waited_share = 0;

  bool disturbed() const { return waited_share > kDisturbed; }
};

// {"run": NAME, "version", "cpu_model", "seconds", "seed", "waited_share",
// "report": {..}} and a newline; `report` is what ReportJson writes.
std::string ClaimLogLine(const ClaimRun& run, const ClaimLogKey& key,
                         const RunRecord& record);

// Keeps the less disturbed record of a name.
void AddRecord(const std::string& name, RunRecord record,
               std::map<std::string, RunRecord>& records);

struct ClaimLog {
  // By ClaimRun::Name(); of a run measured twice the less disturbed one.
  std::map<std::string, RunRecord> records;
  // Bytes of whole lines. A killed run may leave part of a line behind them.
  size_t bytes = 0;
};

// INVALID_ARGUMENT names the line: no such JSON, a report without exactly one
// case, or another key than `key` (measured by another version, on
// another machine, for another time).
absl::StatusOr<ClaimLog> ParseClaimLog(absl::string_view text,
                                       const ClaimLogKey& key);

}  // namespace fff::benchmark
