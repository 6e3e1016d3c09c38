#include "server/benchmark/own_data/advice.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/benchmark/disturbance.h"
#include "server/benchmark/format.h"

namespace fff::benchmark {
namespace {

enum class Reason {
  kTooFew,     // candidates that can be compared
  kDisturbed,  // by other processes
  kUnknown,    // how much worse than the rival the choice is
  kEither,     // the choice and the rival
  kChosen,
};

// Of one batch size.
struct Decision {
  Reason reason = Reason::kTooFew;
  size_t choice = 0;
  size_t rival = 0;
  bool rival_faster = false;
  bool rival_slower = false;
  double ratio = 1;  // of the two times, the larger over the less
};

double Seconds(const DataReport& report, const BenchmarkCase& one, size_t at) {
  return report.Measured(at, one).latency.median_s;
}

bool Faster(const DataReport& report, const BenchmarkCase& one, size_t a,
            size_t b) {
  return report.Measured(a, one).latency.p90_s <
         report.Measured(b, one).latency.p10_s;
}

double MeanSquare(const DataReport& report, size_t at) {
  return MeanLoss(report.candidates[at].losses).value;
}

// Whether one may lose much against another.
bool Unknown(const DataReport& report, size_t at, size_t than) {
  const double most = report.Worse(at, than).high;
  if (report.truth == TruthKind::kClasses) return most > kLossUnknown;
  return !(most <= kErrorUnknown * MeanSquare(report, than));
}

class Decider {
 public:
  Decider(const DataReport& report, const BenchmarkCase& one)
      : report_(report), one_(one) {
    for (size_t at = 0; at < report.candidates.size(); ++at) {
      if (report.Judged(at)) judged_.push_back(at);
    }
  }

  Decision Decide() {
    Decision decision;
    if (judged_.size() < 2) return decision;
    decision.reason = Reason::kDisturbed;
    if (Disturbed(one_)) return decision;
    best_ = *report_.Best();
    std::vector<size_t> good;
    for (const size_t at : judged_) {
      if (!(report_.Worse(at, best_).low > 0)) good.push_back(at);
    }
    const size_t fastest = Fastest(good);
    std::vector<size_t> as_fast;
    for (const size_t at : good) {
      if (!Faster(report_, one_, fastest, at)) as_fast.push_back(at);
    }
    const size_t choice = MostAccurate(as_fast);
    if (as_fast.size() > 1) {
      return Against(Reason::kEither, choice,
                     as_fast[as_fast[0] == choice ? 1 : 0]);
    }
    for (const size_t at : judged_) {
      if (at != choice && Unknown(report_, choice, at)) {
        return Against(Reason::kUnknown, choice, at);
      }
    }
    return Against(Reason::kChosen, choice, RivalOf(choice, good));
  }

 private:
  Decision Against(Reason reason, size_t choice, size_t rival) const {
    Decision decision{reason, choice, rival};
    decision.rival_faster = Faster(report_, one_, rival, choice);
    decision.rival_slower = Faster(report_, one_, choice, rival);
    const double a = Seconds(report_, one_, choice);
    const double b = Seconds(report_, one_, rival);
    if (std::min(a, b) > 0) decision.ratio = std::max(a, b) / std::min(a, b);
    return decision;
  }

  size_t Fastest(const std::vector<size_t>& among) const {
    return *std::min_element(
        among.begin(), among.end(), [this](size_t a, size_t b) {
          return Seconds(report_, one_, a) < Seconds(report_, one_, b);
        });
  }

  size_t MostAccurate(const std::vector<size_t>& among) const {
    return *std::min_element(
        among.begin(), among.end(),
        [this](size_t a, size_t b) { return report_.Worse(a, b).value < 0; });
  }

  // A faster one that is not as good, else the best, else the fastest other.
  size_t RivalOf(size_t choice, const std::vector<size_t>& good) const {
    std::vector<size_t> faster;
    std::vector<size_t> others;
    for (const size_t at : judged_) {
      if (at == choice) continue;
      others.push_back(at);
      if (std::find(good.begin(), good.end(), at) == good.end() &&
          Faster(report_, one_, at, choice)) {
        faster.push_back(at);
      }
    }
    if (!faster.empty()) return Fastest(faster);
    return choice == best_ ? Fastest(others) : best_;
  }

  const DataReport& report_;
  const BenchmarkCase& one_;
  std::vector<size_t> judged_;
  size_t best_ = 0;
};

// Of batch sizes next to each other.
struct Region {
  int64_t rows_min = 0;
  int64_t rows_max = 0;
  Decision decision;
  double ratio_min = 1;
  double ratio_max = 1;
};

bool Alike(const Decision& a, const Decision& b) {
  return a.reason == b.reason && a.choice == b.choice && a.rival == b.rival &&
         a.rival_faster == b.rival_faster && a.rival_slower == b.rival_slower;
}

std::vector<Region> Regions(const DataReport& report) {
  std::vector<BenchmarkCase> cases = report.latency.cases;
  std::sort(cases.begin(), cases.end(),
            [](const BenchmarkCase& a, const BenchmarkCase& b) {
              return a.rows < b.rows;
            });
  std::vector<Region> regions;
  for (const BenchmarkCase& one : cases) {
    const Decision decision = Decider(report, one).Decide();
    if (regions.empty() || !Alike(regions.back().decision, decision)) {
      regions.push_back(
          {one.rows, one.rows, decision, decision.ratio, decision.ratio});
      continue;
    }
    Region& region = regions.back();
    region.rows_max = one.rows;
    region.ratio_min = std::min(region.ratio_min, decision.ratio);
    region.ratio_max = std::max(region.ratio_max, decision.ratio);
  }
  return regions;
}

std::string Called(const Candidate& candidate) {
  if (candidate.version > 0) return absl::StrCat(candidate.name, "'s FFF");
  return candidate.name == "FFF" ? "the FFF" : candidate.name;
}

std::string Times(const Region& region) {
  const std::string low = FormatNumber(region.ratio_min);
  const std::string high = FormatNumber(region.ratio_max);
  return low == high ? absl::StrCat(low, "x")
                     : absl::StrCat(low, "x to ", high, "x");
}

// "1.56 points less accurate (95 %: 0.98 to 2.14)" of the one that is worse.
std::string WorseText(const DataReport& report, size_t worse, size_t than) {
  const Interval more = report.Worse(worse, than);
  if (report.truth == TruthKind::kClasses) {
    return absl::StrFormat("%.2f points less accurate (95 %%: %.2f to %.2f)",
                           100 * more.value, 100 * more.low, 100 * more.high);
  }
  const double base = MeanSquare(report, than);
  if (!(base > 0)) {
    return absl::StrCat("less exact by a mean square error of ",
                        FormatNumber(more.value));
  }
  return absl::StrFormat(
      "%.1f %% worse in mean square error (95 %%: %.1f to %.1f)",
      100 * more.value / base, 100 * more.low / base, 100 * more.high / base);
}

std::string ChosenText(const DataReport& report, const Region& region) {
  const Decision& of = region.decision;
  const std::string rival = Called(report.candidates[of.rival]);
  std::string text = absl::StrCat(Called(report.candidates[of.choice]), "; ");
  const bool rival_worse = report.Worse(of.rival, of.choice).low > 0;
  if (of.rival_faster) {
    return absl::StrCat(text, rival, " is ", Times(region), " faster, but ",
                        WorseText(report, of.rival, of.choice));
  }
  absl::StrAppend(&text,
                  of.rival_slower ? absl::StrCat(Times(region), " faster than ")
                                  : "as fast within the spread as ",
                  rival);
  if (rival_worse) {
    return absl::StrCat(text, ", which is ",
                        WorseText(report, of.rival, of.choice));
  }
  if (report.Worse(of.choice, of.rival).value <= 0) {
    return absl::StrCat(text, ", and no less accurate");
  }
  return absl::StrCat(text, ", and not measurably worse: ",
                      WorseText(report, of.choice, of.rival));
}

std::string Sentence(const DataReport& report, const Region& region) {
  const Decision& of = region.decision;
  switch (of.reason) {
    case Reason::kTooFew:
      return "no recommendation: only one candidate has answers to compare (an "
             "untrained dense network shows cost alone)";
    case Reason::kDisturbed:
      return "no recommendation: other processes disturbed the measurement";
    case Reason::kUnknown:
      return absl::StrCat(
          "no recommendation: so few answers do not tell what ",
          Called(report.candidates[of.choice]), " loses against ",
          Called(report.candidates[of.rival]),
          of.rival_slower
              ? absl::StrCat(", of which it is ", Times(region), " as fast: ")
              : ": ",
          WorseText(report, of.choice, of.rival));
    case Reason::kEither:
      return absl::StrCat(
          "no recommendation: ", Called(report.candidates[of.choice]), " and ",
          Called(report.candidates[of.rival]),
          " are as fast and as good within what was measured");
    case Reason::kChosen:
      return ChosenText(report, region);
  }
  return "";
}

}  // namespace

absl::string_view AdviceRule() {
  return "The fastest of those that are not measurably less accurate (95 %, "
         "on the same rows) than the most accurate one. Faster means that the "
         "times from p10 to p90 do not overlap. No recommendation where other "
         "processes disturbed the measurement, or where so few rows leave room "
         "for a loss of more than 3 points (10 % of the mean square error)";
}

std::vector<Advice> Advise(const DataReport& report) {
  std::vector<Advice> all;
  if (report.truth == TruthKind::kNone) return all;
  for (const Region& region : Regions(report)) {
    Advice advice{region.rows_min, region.rows_max, std::nullopt,
                  Sentence(report, region)};
    if (region.decision.reason == Reason::kChosen) {
      advice.choice = region.decision.choice;
    }
    all.push_back(std::move(advice));
  }
  return all;
}

std::string AdviceText(const std::vector<Advice>& advice) {
  std::string text;
  for (const Advice& one : advice) {
    absl::StrAppend(
        &text, "rows ", one.rows_min,
        one.rows_max > one.rows_min ? absl::StrCat(" to ", one.rows_max) : "",
        ": ", one.sentence, "\n");
  }
  return text;
}

}  // namespace fff::benchmark
