#include "server/engine/cuda/tuner.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/status_macros.h"

namespace fff::engine::cuda {
namespace {

using Clock = std::chrono::steady_clock;

// Launches between two events: enough that their own time does not count.
constexpr int kLaunches = 4;
constexpr int kRepeats = 3;

class Event {
 public:
  Event() { cudaEventCreate(&event_); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

// Least microseconds a launch of one candidate.
absl::StatusOr<double> Measure(size_t layer, const Candidate& candidate,
                               int64_t rows, Lane& lane) {
  const Event start;
  const Event end;
  double least = std::numeric_limits<double>::infinity();
  for (int repeat = 0; repeat <= kRepeats; ++repeat) {  // the first warms up
    cudaEventRecord(start.get(), lane.stream());
    for (int i = 0; i < kLaunches; ++i) {
      FFF_RETURN_IF_ERROR(lane.QueueLayer(layer, candidate, rows));
    }
    cudaEventRecord(end.get(), lane.stream());
    FFF_RETURN_IF_ERROR(
        ToStatus(cudaEventSynchronize(end.get()), candidate.ToString()));
    float milliseconds = 0;
    cudaEventElapsedTime(&milliseconds, start.get(), end.get());
    if (repeat == 0) continue;
    least = std::min(least, 1e3 * double{milliseconds} / kLaunches);
  }
  return least;
}

struct Best {
  Candidate candidate;
  std::string reason;
};

absl::StatusOr<Best> FindBest(const std::vector<Candidate>& candidates,
                              size_t layer, int64_t rows, Lane& lane) {
  std::vector<std::pair<double, size_t>> times;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const auto time = Measure(layer, candidates[i], rows, lane);
    // A matrix product may refuse one of its own proposals; others may fit.
    if (absl::IsInternal(time.status()) &&
        cudaPeekAtLastError() == cudaSuccess && candidates.size() > 1) {
      continue;
    }
    if (!time.ok()) return time.status();
    times.emplace_back(*time, i);
  }
  if (times.empty()) {
    return absl::InternalError(
        absl::StrCat("no kernel ran layer ", layer, " at ", rows, " rows"));
  }
  std::sort(times.begin(), times.end());
  Best best;
  best.candidate = candidates[times[0].second];
  best.reason =
      absl::StrFormat("measured %.1f us at %d rows", times[0].first, rows);
  if (times.size() > 1) {
    absl::StrAppend(&best.reason, " against ",
                    candidates[times[1].second].ToString(), " ",
                    absl::StrFormat("%.1f", times[1].first));
  }
  return best;
}

bool Same(const Candidate& a, const Candidate& b) {
  return a.kernel == b.kernel && a.variant == b.variant;
}

}  // namespace

absl::StatusOr<std::vector<std::vector<KernelPlan::Step>>> Tune(double seconds,
                                                                Chain& chain,
                                                                Lane& lane) {
  FFF_RETURN_IF_ERROR(lane.FillWithNoise());
  std::vector<std::vector<KernelPlan::Step>> steps(chain.size());
  std::vector<std::vector<Choice>> choices(chain.size());
  const Clock::time_point start = Clock::now();
  const int64_t most = std::min(kTunedRowsMax, chain.rows_max());
  for (int64_t rows = 1; rows <= most; rows *= 2) {
    for (size_t i = 0; i < chain.size(); ++i) {
      const std::vector<Candidate> candidates = chain.Candidates(i, rows);
      const std::chrono::duration<double> spent = Clock::now() - start;
      Best best = {candidates[0], "the only kernel on cuda for this layer"};
      if (candidates.size() > 1) {
        if (spent.count() > seconds) {
          if (!choices[i].empty()) continue;
          best.reason = "not measured: the time for measuring was used up";
        } else {
          FFF_ASSIGN_OR_RETURN(best, FindBest(candidates, i, rows, lane));
        }
      }
      if (!choices[i].empty() &&
          Same(choices[i].back().candidate, best.candidate)) {
        continue;
      }
      choices[i].push_back({rows, best.candidate});
      steps[i].push_back({rows, best.candidate.ToString(), best.reason});
    }
  }
  for (size_t i = 0; i < chain.size(); ++i) {
    chain.Choose(i, std::move(choices[i]));
  }
  return steps;
}

}  // namespace fff::engine::cuda
