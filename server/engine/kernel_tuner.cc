#include "server/engine/kernel_tuner.h"

#include <algorithm>
#include <chrono>
#include <limits>
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

  double Cost(size_t i) const { return *layer.Cost(candidates[i], rows); }
  std::string Name(size_t i) const { return layer.Name(candidates[i]); }
  bool has_costs() const { return layer.Cost(candidates[0], rows).has_value(); }
  std::string PerRow(double seconds) const {
    return absl::StrFormat("%.3g", seconds * 1e6 / static_cast<double>(rows));
  }
};

// The least of `values` but for `without`; the first of equals.
size_t Least(absl::Span<const double> values, size_t without) {
  size_t least = without == 0 ? 1 : 0;
  for (size_t i = least + 1; i < values.size(); ++i) {
    if (i != without && values[i] < values[least]) least = i;
  }
  return least;
}

size_t Predicted(const Bucket& bucket) {
  if (!bucket.has_costs()) return 0;
  size_t best = 0;
  for (size_t i = 1; i < bucket.candidates.size(); ++i) {
    if (bucket.Cost(i) < bucket.Cost(best)) best = i;
  }
  return best;
}

// What was not measured: the least cost, and against which.
Choice PredictedChoice(const Bucket& bucket) {
  const size_t best = Predicted(bucket);
  Choice choice = {bucket.rows, bucket.candidates[best], ""};
  if (bucket.candidates.size() == 1) {
    choice.reason = absl::StrCat("the only kernel on ", bucket.layer.device(),
                                 " for this layer");
    return choice;
  }
  if (!bucket.has_costs()) {
    choice.reason = "not measured: the time for measuring was used up";
    return choice;
  }
  std::vector<double> costs;
  for (size_t i = 0; i < bucket.candidates.size(); ++i) {
    costs.push_back(bucket.Cost(i));
  }
  const size_t other = Least(costs, best);
  choice.reason = absl::StrFormat(
      "least predicted cost: %s us/row at %d rows against %s %s",
      bucket.PerRow(costs[best]), bucket.rows, bucket.Name(other),
      bucket.PerRow(costs[other]));
  return choice;
}

// The least seconds of each candidate; kNever, and words, for those left out.
struct Samples {
  std::vector<double> seconds;
  std::string left_out;
};

absl::StatusOr<Samples> TakeSamples(const Bucket& bucket, int turns) {
  Samples samples;
  samples.seconds.assign(bucket.candidates.size(), kNever);
  std::vector<bool> refused(bucket.candidates.size(), false);
  for (int turn = 0; turn < turns; ++turn) {
    for (size_t i = 0; i < bucket.candidates.size(); ++i) {
      if (refused[i]) continue;
      const auto sample =
          bucket.layer.Sample(bucket.candidates[i], bucket.rows);
      if (absl::IsUnimplemented(sample.status())) {
        refused[i] = true;
        samples.seconds[i] = kNever;
        absl::StrAppend(&samples.left_out, "; left out ", bucket.Name(i), ": ",
                        sample.status().message());
        continue;
      }
      if (!sample.ok()) return sample.status();
      samples.seconds[i] = std::min(samples.seconds[i], *sample);
    }
  }
  return samples;
}

absl::StatusOr<Choice> MeasuredChoice(const Bucket& bucket, int turns) {
  FFF_ASSIGN_OR_RETURN(const Samples samples, TakeSamples(bucket, turns));
  const std::vector<double>& seconds = samples.seconds;
  const size_t best = FastestKernel(seconds, Predicted(bucket));
  if (seconds[best] == kNever) {
    return absl::InternalError(absl::StrCat("no kernel ran at ", bucket.rows,
                                            " rows", samples.left_out));
  }
  const size_t other = Least(seconds, best);
  std::string reason =
      absl::StrFormat("measured: %s us/row at %d rows",
                      bucket.PerRow(seconds[best]), bucket.rows);
  if (seconds[other] < kNever) {
    absl::StrAppend(&reason, " against ", bucket.Name(other), " ",
                    bucket.PerRow(seconds[other]));
  }
  if (seconds[other] < seconds[best]) {
    absl::StrAppend(&reason, ", too close to leave the predicted one");
  }
  return Choice{bucket.rows, bucket.candidates[best],
                absl::StrCat(reason, samples.left_out)};
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
    if (bucket.candidates.size() > 1 && HasTimeFor(rows, last_s)) {
      const double began_s = now_s_();
      FFF_ASSIGN_OR_RETURN(choice, MeasuredChoice(bucket, options_.turns));
      last_s = now_s_() - began_s;
      measured_any_ = true;
    } else {
      const bool keeps = bucket.candidates.size() > 1 && !bucket.has_costs();
      if (keeps && !choices.empty()) return absl::OkStatus();
      choice = PredictedChoice(bucket);
    }
    if (choices.empty() || !(choices.back().candidate == choice.candidate)) {
      choices.push_back(std::move(choice));
    }
    return absl::OkStatus();
  }

 private:
  // Twice the rows take about twice the time.
  bool HasTimeFor(int64_t rows, double last_s) const {
    if (options_.budget_s <= 0 || rows > options_.measured_rows_max) {
      return false;
    }
    return !measured_any_ ||
           now_s_() - start_s_ + 2 * last_s <= options_.budget_s;
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
  const auto least = std::min_element(seconds.begin(), seconds.end());
  if (seconds[predicted] <= *least * kTie) return predicted;
  return static_cast<size_t>(least - seconds.begin());
}

}  // namespace fff::engine
