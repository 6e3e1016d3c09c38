#include "server/benchmark/claims/verdict.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/benchmark/format.h"

namespace fff::benchmark {
namespace {

double Strength(const Claim& claim, const ClaimPoint& point) {
  return claim.published >= 1 ? point.speedup() / claim.published
                              : claim.published / point.speedup();
}

bool OnItsSide(const Claim& claim, const ClaimPoint& point) {
  return (claim.published >= 1) == (point.speedup() >= 1);
}

// Those that the claim is judged by.
std::vector<const ClaimPoint*> Judged(const Claim& claim,
                                      const std::vector<ClaimPoint>& points) {
  std::vector<const ClaimPoint*> judged;
  if (claim.kind != ClaimKind::kUpTo) {
    for (const ClaimPoint& point : points) {
      if (point.judged()) judged.push_back(&point);
    }
    return judged;
  }
  std::map<std::pair<int, bool>, const ClaimPoint*> best;
  for (const ClaimPoint& point : points) {
    if (!point.judged()) continue;
    const ClaimPoint*& of = best[{point.run.threads, point.run.cold}];
    if (of == nullptr || Strength(claim, *of) < Strength(claim, point)) {
      of = &point;
    }
  }
  for (const auto& [setting, point] : best) judged.push_back(point);
  return judged;
}

// "4.1x", or "4.1x to 5.6x".
std::string Range(const std::vector<const ClaimPoint*>& points) {
  double low = points.front()->speedup();
  double high = low;
  for (const ClaimPoint* point : points) {
    low = std::min(low, point->speedup());
    high = std::max(high, point->speedup());
  }
  if (FormatTimes(low) == FormatTimes(high)) return FormatTimes(low);
  return absl::StrCat(FormatTimes(low), " to ", FormatTimes(high));
}

std::string Runs(size_t count) {
  return absl::StrCat(count, count == 1 ? " run" : " runs");
}

Verdict JudgeArithmetic(const Claim& claim,
                        const std::vector<ClaimPoint>& points) {
  const BenchmarkReport& report = points.front().report();
  const double counted = report.dense_flops_per_row / report.fff_flops_per_row;
  const std::vector<const ClaimPoint*> timed = Judged(claim, points);
  const std::string measured =
      timed.empty()
          ? "no run was undisturbed"
          : absl::StrCat("measured ", Range(timed), " in ", Runs(timed.size()));
  // Written so that NaN does not agree.
  if (std::abs(counted / claim.published - 1) <= kArithmeticError) {
    return {VerdictKind::kArithmeticOnly,
            absl::StrCat("Arithmetic only: dense does ", FormatTimes(counted),
                         " the operations of the FFF; ", measured, ".")};
  }
  return {VerdictKind::kDoesNotHold,
          absl::StrCat("Does not hold: dense does ", FormatTimes(counted),
                       " the operations of the FFF, published ",
                       FormatTimes(claim.published), "; ", measured, ".")};
}

Verdict Partly(const Claim& claim, const std::vector<const ClaimPoint*>& judged,
               size_t held) {
  const ClaimPoint& weakest = **absl::c_min_element(
      judged, [&claim](const ClaimPoint* a, const ClaimPoint* b) {
        return Strength(claim, *a) < Strength(claim, *b);
      });
  std::string text = held > 0 ? absl::StrCat(held, " of ", Runs(judged.size()),
                                             " reach the published ",
                                             FormatTimes(claim.published))
                              : absl::StrCat("no run reaches the published ",
                                             FormatTimes(claim.published),
                                             ", all reach half of it");
  return {VerdictKind::kHoldsPartly,
          absl::StrCat("Holds partly: ", text, "; the weakest is ",
                       FormatTimes(weakest.speedup()), " (", weakest.run.Name(),
                       ").")};
}

std::string Reversed(const Claim& claim,
                     const std::vector<const ClaimPoint*>& judged) {
  const bool all = absl::c_none_of(judged, [&claim](const ClaimPoint* point) {
    return OnItsSide(claim, *point);
  });
  if (!all) return "";
  return claim.published < 1 ? "; the FFF is faster than dense here"
                             : "; the FFF is slower than dense here";
}

Verdict JudgeUndisturbed(const Claim& claim,
                         const std::vector<ClaimPoint>& points,
                         absl::string_view left_out) {
  if (points.empty()) {
    const absl::string_view why =
        claim.kind == ClaimKind::kElsewhere ? claim.reason : left_out;
    return {VerdictKind::kNotRunHere, absl::StrCat("Not run here: ", why, ".")};
  }
  if (claim.kind == ClaimKind::kArithmetic) {
    return JudgeArithmetic(claim, points);
  }
  const std::vector<const ClaimPoint*> judged = Judged(claim, points);
  if (judged.empty()) {
    return {VerdictKind::kNotRunHere,
            "Not run here: other processes disturbed every run."};
  }
  size_t held = 0;
  bool half = true;
  for (const ClaimPoint* point : judged) {
    const double strength = Strength(claim, *point);
    if (strength >= kHeld) ++held;
    half = half && strength >= kPartly && OnItsSide(claim, *point);
  }
  if (held == judged.size()) {
    return {VerdictKind::kHolds,
            absl::StrCat("Holds: ", Range(judged), " in ", Runs(held),
                         ", published ", FormatTimes(claim.published), ".")};
  }
  if (held > 0 || half) return Partly(claim, judged, held);
  return {
      VerdictKind::kDoesNotHold,
      absl::StrCat("Does not hold: ", Range(judged), " in ",
                   Runs(judged.size()), ", published ",
                   FormatTimes(claim.published), Reversed(claim, judged), ".")};
}

}  // namespace

absl::string_view Name(VerdictKind kind) {
  switch (kind) {
    case VerdictKind::kHolds:
      return "holds";
    case VerdictKind::kHoldsPartly:
      return "holds partly";
    case VerdictKind::kDoesNotHold:
      return "does not hold";
    case VerdictKind::kArithmeticOnly:
      return "arithmetic only";
    case VerdictKind::kNotRunHere:
      return "not run here";
  }
  return "unknown";
}

bool ClaimPoint::judged() const {
  return !disturbed() || (run.threads == 1 &&
                          measured().dense.latency.min_s <= kTimeSliceSeconds);
}

double ClaimPoint::SecondsOf(const Measurement& side) const {
  return disturbed() ? side.latency.min_s : side.latency.median_s;
}

double ClaimPoint::speedup() const {
  return SecondsOf(measured().dense) / SecondsOf(measured().fff);
}

double ClaimPoint::SpeedupOver(BaselineKind kind) const {
  const std::vector<Baseline>& baselines = report().other_baselines;
  for (size_t i = 0; i < baselines.size(); ++i) {
    if (baselines[i].kind != kind) continue;
    return SecondsOf(measured().other_baselines[i]) / SecondsOf(measured().fff);
  }
  return 0;
}

TimeBound BoundOf(const ClaimPoint& point) {
  const BenchmarkReport& report = point.report();
  const Measurement& fff = point.measured().fff;
  TimeBound bound;
  if (report.memory_gbps <= 0 || report.peak_gflops <= 0) return bound;
  const double memory_s = fff.least_bytes / (report.memory_gbps * 1e9);
  const double arithmetic_s = report.fff_flops_per_row *
                              static_cast<double>(point.measured().rows) /
                              (report.peak_gflops * 1e9);
  bound.memory = memory_s >= arithmetic_s;
  bound.seconds = std::max(memory_s, arithmetic_s);
  const double seconds = point.SecondsOf(fff);
  if (seconds > 0) bound.reached = bound.seconds / seconds;
  return bound;
}

double DenseStrength(const ClaimPoint& point) {
  const BenchmarkReport& report = point.report();
  if (report.memory_gbps <= 0 || report.peak_gflops <= 0) return 0;
  const Measurement& dense = point.measured().dense;
  return std::max(dense.gflops / report.peak_gflops,
                  dense.gbps / report.memory_gbps);
}

Verdict Judge(const Claim& claim, const std::vector<ClaimPoint>& points,
              absl::string_view left_out) {
  Verdict verdict = JudgeUndisturbed(claim, points, left_out);
  const int64_t unjudged = absl::c_count_if(
      points, [](const ClaimPoint& point) { return !point.judged(); });
  if (unjudged > 0 && verdict.kind == VerdictKind::kHolds) {
    verdict.kind = VerdictKind::kHoldsPartly;
    verdict.sentence = absl::StrCat(
        "Holds partly", absl::StripPrefix(verdict.sentence, "Holds"));
  }
  if (unjudged > 0 && verdict.kind != VerdictKind::kNotRunHere) {
    absl::StrAppend(&verdict.sentence, " Disturbed and not judged: ",
                    Runs(static_cast<size_t>(unjudged)), ".");
  }
  return verdict;
}

}  // namespace fff::benchmark
