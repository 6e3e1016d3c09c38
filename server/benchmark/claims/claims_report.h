#pragma once

#include <string>
#include <vector>

#include "server/benchmark/claims/claim.h"
#include "server/benchmark/claims/verdict.h"

namespace fff::benchmark {

struct ClaimResult {
  Claim claim;
  std::vector<ClaimPoint> points;
  std::string left_out;  // why runs are missing; empty when none is
  Verdict verdict;
};

// What `fffctl claims` prints, as plain values.
struct ClaimsReport {
  std::string version;  // of this program
  std::string date;     // "2026-11-30 08:00 UTC", when the report was made
  std::string cpu_model;
  std::string isa;
  int threads_all = 1;
  bool quick = false;
  double seconds = 0;  // per implementation and run
  std::vector<ClaimResult> results;

  // Claims with the verdict.
  int Count(VerdictKind kind) const;
  // Runs that other processes disturbed, each once.
  int Disturbed() const;
};

// One sentence of counts: "38 claims: 20 hold, ...".
std::string CountsSentence(const ClaimsReport& report);
// How verdicts come about and what ours are, the same in every form.
std::string HowToRead(const ClaimsReport& report);

// The report for people, as plain text.
std::string ClaimsText(const ClaimsReport& report);

// The report for programs, one JSON object, indented, ends with a newline:
// version, date, cpu_model, isa, threads_all, quick, seconds, counts,
// disturbed_runs, how_to_read and claims. A claim has id, claim, source, url,
// conditions, flaws, published, kind, points, left_out, verdict and sentence. A
// point has run, case, rows, threads, cold, depth, neurons, speedup,
// waited_share, disturbed, judged, fff_s, fff_p10_s, fff_p90_s, kernel, the
// same of dense, dense_strength, bound_s, bound_by, bound_reached, baselines
// (kind, description, seconds, speedup), distinct_leaves and more. Times in
// seconds.
std::string ClaimsJson(const ClaimsReport& report);

// The report as one HTML document that loads nothing: ClaimsJson, and scripts
// that draw it with Chart.js.
std::string ClaimsHtml(const ClaimsReport& report);

}  // namespace fff::benchmark
