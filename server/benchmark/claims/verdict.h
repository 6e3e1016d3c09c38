#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/benchmark/claims/claim.h"
#include "server/benchmark/claims/claim_log.h"

// What this machine says to a claim. Pure.
//
// A run's strength is its speed-up over the published one, and the inverse
// where the claim says that the FFF is slower (a published figure below 1). So
// strength 1 is the published figure, and more is more of what was claimed. A
// claim of "up to" is judged by its strongest run of each setting (threads,
// warm or cold), any other claim by all its runs:
//   holds           every run has a strength of at least kHeld
//   holds partly    every run that could be judged has, or some run has; or
//                   every run is on the claim's side of 1 and has a strength of
//                   at least kPartly
//   does not hold   otherwise; or the claim is of arithmetic, and the counted
//                   operations differ from it by more than kArithmeticError
//   arithmetic only the counted operations agree
//   not run here    nothing was measured that can be judged
//
// A disturbed run (RunRecord) counts with its least times or is not judged, as
// disturbance.h says.
namespace fff::benchmark {

inline constexpr double kHeld = 0.9;
inline constexpr double kPartly = 0.5;
inline constexpr double kArithmeticError = 0.01;

enum class VerdictKind {
  kHolds,
  kHoldsPartly,
  kDoesNotHold,
  kArithmeticOnly,
  kNotRunHere,
};
inline constexpr VerdictKind kVerdictKinds[] = {
    VerdictKind::kHolds, VerdictKind::kHoldsPartly, VerdictKind::kDoesNotHold,
    VerdictKind::kArithmeticOnly, VerdictKind::kNotRunHere};
// "holds", "holds partly", "does not hold", "arithmetic only", "not run here".
absl::string_view Name(VerdictKind kind);

// A run and what it found.
struct ClaimPoint {
  ClaimRun run;
  RunRecord record;

  const BenchmarkReport& report() const { return record.report; }
  const BenchmarkCase& measured() const { return report().cases.front(); }
  bool disturbed() const { return record.disturbed(); }
  bool judged() const;
  // The median, or the least time of a disturbed run.
  double SecondsOf(const Measurement& side) const;
  // Time of the claim's dense network over that of the FFF.
  double speedup() const;
  // Over the baseline of a kind; 0 where it was not measured.
  double SpeedupOver(BaselineKind kind) const;
};

// The least time that a call of the FFF could take on this machine.
struct TimeBound {
  double seconds = 0;   // 0: the machine was not probed
  bool memory = false;  // its bytes at the copy bandwidth; else arithmetic
  double reached = 0;   // the bound over the time; above 1 from a cache
};
TimeBound BoundOf(const ClaimPoint& point);

// The better of the dense network's parts of the machine's measured matrix
// product and copy bandwidth: how strong the baseline is. 0 when not probed.
double DenseStrength(const ClaimPoint& point);

struct Verdict {
  VerdictKind kind = VerdictKind::kNotRunHere;
  std::string sentence;  // begins with the kind, ends with a full stop
};

// `left_out` says why runs are missing; it becomes the reason when all are.
Verdict Judge(const Claim& claim, const std::vector<ClaimPoint>& points,
              absl::string_view left_out);

}  // namespace fff::benchmark
