#include "server/benchmark/disturbance.h"

#include <algorithm>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/clock.h"
#include "server/benchmark/format.h"

namespace fff::benchmark {
namespace {

// What the calling thread has waited for a processor since it started.
double WaitedSeconds() {
  std::ifstream schedstat("/proc/thread-self/schedstat");
  double ran_ns = 0;
  double waited_ns = 0;
  schedstat >> ran_ns >> waited_ns;
  return 1e-9 * waited_ns;
}

}  // namespace

WaitWatch::WaitWatch()
    : start_(std::chrono::steady_clock::now()), waited_s_(WaitedSeconds()) {}

double WaitWatch::Share() const {
  const double wall_s = base::SecondsSince(start_);
  if (wall_s <= 0) return 0;
  return std::clamp((WaitedSeconds() - waited_s_) / wall_s, 0.0, 1.0);
}

bool Disturbed(const BenchmarkCase& one) {
  return one.waited_share > kDisturbed;
}

bool Judged(const BenchmarkCase& one, int threads) {
  return !Disturbed(one) ||
         (threads == 1 && one.dense.latency.min_s <= kTimeSliceSeconds);
}

double SecondsOf(const BenchmarkCase& one, const Measurement& side) {
  return Disturbed(one) ? side.latency.min_s : side.latency.median_s;
}

std::string DisturbanceText(const BenchmarkReport& report) {
  std::string text;
  for (const BenchmarkCase& one : report.cases) {
    if (!Disturbed(one)) continue;
    absl::StrAppendFormat(
        &text,
        "! %d %s: disturbed, other processes had the processor for %.0f %% of "
        "the time; ",
        one.rows, one.rows == 1 ? "row" : "rows", 100 * one.waited_share);
    if (Judged(one, report.threads)) {
      const double least_s = one.fff.latency.min_s;
      absl::StrAppend(
          &text, "medians flatter the FFF, least times say ",
          FormatNumber(least_s > 0 ? one.dense.latency.min_s / least_s : 0),
          "x\n");
    } else {
      absl::StrAppend(&text, "these times say nothing\n");
    }
  }
  return text;
}

}  // namespace fff::benchmark
