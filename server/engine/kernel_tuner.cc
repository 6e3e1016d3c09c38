#include "server/engine/kernel_tuner.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"

namespace fff::engine {
namespace {

constexpr double kTie = 1.05;
constexpr double kNever = std::numeric_limits<double>::infinity();

double SteadySeconds() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// One layer at one batch size.
struct Bucket {
  TunedLayer& layer;
  int64_t rows;
  std::vector<Candidate> candidates;

  std::string Name(size_t i) const { return layer.Name(candidates[i]); }
  // Empty where nobody can tell.
  std::vector<double> Costs() const {
    std::vector<double> costs;
    for (const Candidate& candidate : candidates) {
      const std::optional<double> cost = layer.Cost(candidate, rows);
      if (cost.has_value()) costs.push_back(*cost);
    }
    FFF_CHECK(costs.empty() || costs.size() == candidates.size());
    return costs;
  }
};

size_t Least(absl::Span<const double> values) {
  return static_cast<size_t>(std::min_element(values.begin(), values.end()) -
                             values.begin());
}

// "2.5 us/row at 8 rows against path_row 3.5": the best and its closest rival.
std::string Compared(const Bucket& bucket, std::vector<double> seconds,
                     size_t best) {
  const double scale = 1e6 / static_cast<double>(bucket.rows);
  std::string words = absl::StrFormat("%.3g us/row at %d rows",
                                      seconds[best] * scale, bucket.rows);
  const bool predicted = seconds[Least(seconds)] < seconds[best];
  seconds[best] = kNever;
  const size_t rival = Least(seconds);
  if (seconds[rival] < kNever) {
    absl::StrAppend(&words, " against ", bucket.Name(rival),
                    absl::StrFormat(" %.3g", seconds[rival] * scale));
  }
  if (predicted) {
    absl::StrAppend(&words, ", too close to leave the predicted one");
  }
  return words;
}

// What is not measured: the least cost, and against which.
Choice PredictedChoice(const Bucket& bucket) {
  const std::vector<double> costs = bucket.Costs();
  const size_t best = costs.empty() ? 0 : Least(costs);
  Choice choice = {bucket.rows, bucket.candidates[best], ""};
  if (bucket.candidates.size() == 1) {
    choice.reason = absl::StrCat("the only kernel on ", bucket.layer.device(),
                                 " for this layer");
  } else if (costs.empty()) {
    choice.reason = "not measured: the time for measuring was used up";
  } else {
    choice.reason =
        absl::StrCat("least predicted cost: ", Compared(bucket, costs, best));
  }
  return choice;
}

// The least seconds of each candidate, by turns; kNever, and words in
// `left_out`, for those that refuse.
absl::StatusOr<std::vector<double>> TakeSamples(const Bucket& bucket, int turns,
                                                std::string& left_out) {
  std::vector<double> least(bucket.candidates.size(), kNever);
  std::vector<bool> refused(least.size(), false);
  for (int turn = 0; turn < turns; ++turn) {
    for (size_t i = 0; i < least.size(); ++i) {
      if (refused[i]) continue;
      const auto sample =
          bucket.layer.Sample(bucket.candidates[i], bucket.rows);
      if (sample.ok()) {
        least[i] = std::min(least[i], *sample);
        continue;
      }
      if (!absl::IsUnimplemented(sample.status())) return sample.status();
      refused[i] = true;
      least[i] = kNever;
      absl::StrAppend(&left_out, "; left out ", bucket.Name(i), ": ",
                      sample.status().message());
    }
  }
  return least;
}

absl::StatusOr<Choice> MeasuredChoice(const Bucket& bucket, int turns) {
  std::string left_out;
  FFF_ASSIGN_OR_RETURN(const std::vector<double> seconds,
                       TakeSamples(bucket, turns, left_out));
  const std::vector<double> costs = bucket.Costs();
  const size_t best = FastestKernel(seconds, costs.empty() ? 0 : Least(costs));
  if (seconds[best] == kNever) {
    return absl::InternalError(
        absl::StrCat("no kernel ran at ", bucket.rows, " rows", left_out));
  }
  return Choice{
      bucket.rows, bucket.candidates[best],
      absl::StrCat("measured: ", Compared(bucket, seconds, best), left_out)};
}

// Chooses bucket by bucket, and keeps to the budget.
class Tuner {
 public:
  explicit Tuner(const TunerOptions& options)
      : options_(options),
        now_s_(options.now_s ? options.now_s : SteadySeconds),
        start_s_(now_s_()) {}

  absl::Status Choose(TunedLayer& layer, int64_t rows, double& last_s,
                      Choices& choices) {
    const Bucket bucket = {layer, rows, layer.Candidates(rows)};
    FFF_CHECK(!bucket.candidates.empty());
    Choice choice;
    if (bucket.candidates.size() > 1 && HasTimeFor(bucket, last_s)) {
      const double began_s = now_s_();
      FFF_ASSIGN_OR_RETURN(choice, MeasuredChoice(bucket, options_.turns));
      last_s = now_s_() - began_s;
      measured_any_ = true;
    } else {
      const bool keeps = bucket.candidates.size() > 1 && bucket.Costs().empty();
      if (keeps && !choices.empty()) return absl::OkStatus();
      choice = PredictedChoice(bucket);
    }
    if (choices.empty() || !(choices.back().candidate == choice.candidate)) {
      choices.push_back(std::move(choice));
    }
    return absl::OkStatus();
  }

 private:
  bool HasTimeFor(const Bucket& bucket, double last_s) const {
    if (options_.budget_s <= 0 || bucket.rows > options_.measured_rows_max) {
      return false;
    }
    if (!measured_any_) {
      // A candidate's first sample comes after a run more.
      const std::vector<double> costs = bucket.Costs();
      return (options_.turns + 1) *
                 std::accumulate(costs.begin(), costs.end(), 0.0) <=
             std::max(options_.budget_s, kFirstBatchSeconds);
    }
    // Twice the rows take about twice the time.
    return now_s_() - start_s_ + 2 * last_s <= options_.budget_s;
  }

  const TunerOptions& options_;
  const std::function<double()> now_s_;
  const double start_s_;
  bool measured_any_ = false;
};

}  // namespace

const Choice& ChoiceFor(const Choices& choices, int64_t rows) {
  FFF_DCHECK(!choices.empty());
  size_t step = 0;
  while (step + 1 < choices.size() && choices[step + 1].rows_min <= rows) {
    ++step;
  }
  return choices[step];
}

absl::StatusOr<std::vector<Choices>> ChooseKernels(
    absl::Span<TunedLayer* const> layers, const TunerOptions& options) {
  std::vector<Choices> choices(layers.size());
  std::vector<double> last_s(layers.size(), 0);
  Tuner tuner(options);
  for (int64_t rows = 1; rows <= options.rows_max; rows *= 2) {
    for (size_t i = 0; i < layers.size(); ++i) {
      FFF_RETURN_IF_ERROR(
          base::Annotate(tuner.Choose(*layers[i], rows, last_s[i], choices[i]),
                         absl::StrCat("layer ", i)));
    }
  }
  return choices;
}

size_t FastestKernel(absl::Span<const double> seconds, size_t predicted) {
  FFF_CHECK(predicted < seconds.size());
  const size_t least = Least(seconds);
  return seconds[predicted] <= seconds[least] * kTie ? predicted : least;
}

}  // namespace fff::engine
