#include "server/engine/device/lane_tuning.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "server/base/status_macros.h"
#include "server/engine/kernel_tuner.h"

namespace fff::engine {
namespace {

// Launches of one sample: enough that the clock's own time does not count.
constexpr int kLaunches = 4;
constexpr int kRepeats = 3;
constexpr double kWorthAnotherWay = 0.95;
constexpr Way kOtherWays[] = {{true, false, true},  {false, true, true},
                              {true, true, true},   {false, false, false},
                              {true, false, false}, {false, true, false},
                              {true, true, false}};

class LayerOnLane : public TunedLayer {
 public:
  LayerOnLane(const Chain& chain, size_t layer, Lane& lane)
      : chain_(chain), layer_(layer), lane_(lane) {}

  absl::string_view device() const override { return chain_.device().kind(); }
  std::vector<Candidate> Candidates(int64_t rows) const override {
    return chain_.Candidates(layer_, rows);
  }
  std::string Name(const Candidate& candidate) const override {
    return chain_.layer(layer_).Name(candidate);
  }
  std::optional<double> Cost(const Candidate&, int64_t) const override {
    return std::nullopt;
  }
  // The least of a few, after one that warms up.
  absl::StatusOr<double> Sample(const Candidate& candidate,
                                int64_t rows) override {
    double least = std::numeric_limits<double>::infinity();
    for (int repeat = 0; repeat <= kRepeats; ++repeat) {
      const auto time = lane_.TimeLayer(layer_, candidate, rows, kLaunches);
      if (!time.ok()) return Refused(time.status());
      if (repeat > 0) least = std::min(least, *time / kLaunches);
    }
    return least;
  }

 private:
  // A matrix product may refuse one of its own proposals, and leave the device
  // as it was; others may fit.
  absl::Status Refused(const absl::Status& status) const {
    const bool lasts = !chain_.device().LastingError().ok();
    if (!absl::IsInternal(status) || lasts) return status;
    return absl::UnimplementedError(status.message());
  }

  const Chain& chain_;
  const size_t layer_;
  Lane& lane_;
};

}  // namespace

absl::StatusOr<std::vector<std::vector<KernelPlan::Step>>> TuneOnLane(
    double budget_s, Chain& chain, Lane& lane) {
  FFF_RETURN_IF_ERROR(lane.FillWithNoise());
  std::vector<LayerOnLane> layers;
  for (size_t i = 0; i < chain.size(); ++i) layers.emplace_back(chain, i, lane);
  std::vector<TunedLayer*> tuned;
  for (LayerOnLane& layer : layers) tuned.push_back(&layer);
  TunerOptions options;
  options.budget_s = budget_s;
  options.rows_max = std::min(kTunedRowsMax, chain.rows_max());
  options.now_s = [&chain] { return chain.device().NowSeconds(); };
  FFF_ASSIGN_OR_RETURN(auto choices, ChooseKernels(tuned, options));
  std::vector<std::vector<KernelPlan::Step>> steps(chain.size());
  for (size_t i = 0; i < chain.size(); ++i) {
    for (const Choice& choice : choices[i]) {
      steps[i].push_back(
          {choice.rows_min, layers[i].Name(choice.candidate), choice.reason});
    }
  }
  chain.Choose(std::move(choices));
  return steps;
}

absl::StatusOr<std::vector<Way>> ChooseWays(const Chain& chain, Lane& lane) {
  const int64_t most = std::min(Lane::kRecordedRowsMax, chain.rows_max());
  std::vector<Way> ways;
  for (int64_t rows = 1; rows <= most; rows *= 2) {
    Way best;
    FFF_ASSIGN_OR_RETURN(double least_s, lane.TimeWay(rows, best));
    least_s *= kWorthAnotherWay;
    for (const Way& way : kOtherWays) {
      FFF_ASSIGN_OR_RETURN(const double seconds, lane.TimeWay(rows, way));
      if (seconds < least_s) {
        least_s = seconds;
        best = way;
      }
    }
    ways.push_back(best);
  }
  return ways;
}

}  // namespace fff::engine
