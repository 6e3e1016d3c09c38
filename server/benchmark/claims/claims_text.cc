#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "server/base/log.h"
#include "server/benchmark/claims/claims_report.h"
#include "server/benchmark/format.h"
#include "server/benchmark/text_table.h"

namespace fff::benchmark {
namespace {

constexpr size_t kLineCharacters = 100;

// The words in lines of at most kLineCharacters, those after the first
// indented.
std::string Wrapped(absl::string_view text, absl::string_view indent) {
  std::string wrapped;
  size_t used = 0;
  for (const absl::string_view word :
       absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    if (used > 0 && used + 1 + word.size() > kLineCharacters) {
      absl::StrAppend(&wrapped, "\n", indent);
      used = indent.size();
    } else if (used > 0) {
      wrapped += ' ';
      ++used;
    }
    absl::StrAppend(&wrapped, word);
    used += word.size();
  }
  return wrapped + "\n";
}

std::string BoundText(const ClaimPoint& point) {
  const TimeBound bound = BoundOf(point);
  if (bound.seconds <= 0) return "-";
  return absl::StrFormat("%s (%.0f%%), %s", FormatSeconds(bound.seconds),
                         100 * bound.reached,
                         bound.memory ? "memory" : "arithmetic");
}

std::vector<std::string> PointRow(const ClaimResult& result, size_t at) {
  const ClaimPoint& point = result.points[at];
  const BenchmarkCase& measured = point.measured();
  const double strength = DenseStrength(point);
  const double same_width = point.SpeedupOver(BaselineKind::kInferenceWidth);
  return {at == 0 ? result.claim.id : "",
          at == 0 ? FormatTimes(result.claim.published) : "",
          FormatTimes(point.speedup()) + (point.disturbed() ? " !" : ""),
          absl::StrCat(point.run.rows),
          absl::StrCat(point.run.threads, point.run.cold ? " cold" : " warm"),
          absl::StrCat(measured.neurons),
          FormatSeconds(point.SecondsOf(measured.fff)),
          FormatSeconds(point.SecondsOf(measured.dense)),
          strength > 0 ? absl::StrFormat("%.0f%%", 100 * strength) : "-",
          same_width > 0 ? FormatTimes(same_width) : "-",
          BoundText(point)};
}

// The table and the sentences of the results from `begin` to `end`, all of one
// source.
std::string Section(const ClaimsReport& report, size_t begin, size_t end) {
  const ClaimSource& source = *report.results[begin].claim.source;
  std::string text = absl::StrCat(
      "\n", Wrapped(source.name, ""), "  ", source.url, "\n",
      Wrapped(absl::StrCat("  Conditions: ", source.conditions, "."), "    "));
  if (!source.flaws.empty()) {
    absl::StrAppend(
        &text,
        Wrapped(absl::StrCat("  Known flaws: ", source.flaws, "."), "    "));
  }
  std::vector<std::vector<std::string>> rows;
  std::string sentences;
  for (size_t i = begin; i < end; ++i) {
    const ClaimResult& result = report.results[i];
    for (size_t at = 0; at < result.points.size(); ++at) {
      rows.push_back(PointRow(result, at));
    }
    std::string sentence =
        absl::StrCat(result.claim.id, " (", result.claim.text,
                     "): ", result.verdict.sentence);
    if (!result.left_out.empty() && !result.points.empty()) {
      absl::StrAppend(&sentence, " Left out: ", result.left_out, ".");
    }
    absl::StrAppend(&sentences, Wrapped(sentence, "  "));
  }
  if (!rows.empty()) {
    absl::StrAppend(
        &text, "\n",
        TextTable({"claim", "published", "ours", "rows", "threads", "neurons",
                   "FFF", "dense", "strength", "same width", "bound"},
                  rows));
  }
  return absl::StrCat(text, "\n", sentences);
}

}  // namespace

int ClaimsReport::Disturbed() const {
  std::set<std::string> disturbed;  // claims share runs
  for (const ClaimResult& result : results) {
    for (const ClaimPoint& point : result.points) {
      if (point.disturbed()) disturbed.insert(point.run.Name());
    }
  }
  return static_cast<int>(disturbed.size());
}

int ClaimsReport::Count(VerdictKind kind) const {
  return static_cast<int>(std::count_if(results.begin(), results.end(),
                                        [kind](const ClaimResult& result) {
                                          return result.verdict.kind == kind;
                                        }));
}

std::string CountsSentence(const ClaimsReport& report) {
  std::vector<std::string> counts;
  for (const VerdictKind kind : kVerdictKinds) {
    counts.push_back(absl::StrCat(Name(kind), " ", report.Count(kind)));
  }
  return absl::StrCat(report.results.size(),
                      " claims: ", absl::StrJoin(counts, ", "),
                      ". Disturbed runs: ", report.Disturbed(), ".");
}

std::string HowToRead(const ClaimsReport& report) {
  return absl::StrCat(
      "Ours is the median time of the claim's dense network, run by the "
      "fastest kernel here, over that of the FFF: in turns, same random rows, "
      "same threads. A claim holds when every run reaches ",
      kHeld,
      " of the published figure. It holds partly when some run does, or "
      "when all reach ",
      kPartly,
      " of it. A figure below 1 says that the FFF is slower, and is read the "
      "other way round. A run is disturbed (marked !) when it waited more "
      "than ",
      kDisturbed,
      " of its time for processors that other processes had. It counts with "
      "least times instead of medians if it has one thread and short calls, "
      "and is not judged otherwise; --resume measures it again. Equal neurons "
      "is not equal accuracy. ",
      report.quick ? "--quick: one thread, warm weights, fewer shapes."
                   : "One thread and all, warm weights and cold.");
}

std::string ClaimsText(const ClaimsReport& report) {
  std::string text = absl::StrCat(
      "Published claims about fast feedforward networks, run again\n",
      base::Printable(report.cpu_model), ", ", base::Printable(report.isa),
      ", ", report.threads_all,
      report.threads_all == 1 ? " thread" : " threads", "; fffctl ",
      report.version, ", ", report.date, ", ", report.seconds,
      " s per side and run\n\n", Wrapped(HowToRead(report), ""));
  for (size_t begin = 0; begin < report.results.size();) {
    size_t end = begin + 1;
    while (end < report.results.size() &&
           report.results[end].claim.source ==
               report.results[begin].claim.source) {
      ++end;
    }
    absl::StrAppend(&text, Section(report, begin, end));
    begin = end;
  }
  return absl::StrCat(
      text, "\n",
      Wrapped("Strength: the dense network's part of this machine's measured "
              "matrix product or copy bandwidth, the better of the two; above "
              "100 % its weights come from a cache. Same width: the speed-up "
              "over a dense layer of the neurons that one row of the FFF uses. "
              "Bound: the least time that the FFF's bytes or operations take "
              "here, and how near it came.",
              ""),
      "\n", CountsSentence(report), "\n");
}

}  // namespace fff::benchmark
