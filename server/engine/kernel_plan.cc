#include "server/engine/kernel_plan.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <limits>
#include <map>
#include <optional>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/status_macros.h"
#include "server/engine/kernel_stopwatch.h"
#include "server/engine/kernel_tuner.h"
#include "server/engine/tuning_memo.h"

namespace fff::engine {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kTurns = 5;

template <class Entry>
using Entries = std::vector<const Entry*>;

// Whether a dense kernel is predicted to come near the others for any batch.
template <class Entry, class Problem>
bool WorthTrying(const Entry& dense, const Entries<Entry>& others,
                 const Problem& problem) {
  for (int64_t rows = 1; rows <= kTunedRowsMax; rows *= 2) {
    double least = std::numeric_limits<double>::infinity();
    for (const Entry* other : others) {
      least = std::min(least, other->cost(problem, rows));
    }
    if (dense.cost(problem, rows) <= kDenseCostMax * least) return true;
  }
  return false;
}

// Leaves the one whose rows have the same bits in every batch that is cheapest
// for kAlikeRows rows; all, when none has.
template <class Entry, class Problem>
void KeepAlike(const Problem& problem, Entries<Entry>& found) {
  const Entry* best = nullptr;
  for (const Entry* entry : found) {
    if (entry->traits.same_in_every_batch &&
        (best == nullptr ||
         entry->cost(problem, kAlikeRows) < best->cost(problem, kAlikeRows))) {
      best = entry;
    }
  }
  if (best != nullptr) found = {best};
}

// What may serve the problem: able to, and neither the oracle nor dense where
// that is not allowed, unless it was asked for by name.
template <class Entry, class Problem>
absl::StatusOr<Entries<Entry>> FindCandidates(absl::Span<const Entry> list,
                                              const Problem& problem,
                                              const PlanOptions& options) {
  Entries<Entry> found;
  Entries<Entry> dense;
  std::vector<absl::string_view> names;
  bool named = options.kernel_name.empty();
  for (const Entry& entry : list) {
    const bool dense_kernel = entry.traits.evaluates_beside_path;
    names.push_back(entry.name);
    if (!options.kernel_name.empty()) {
      if (entry.name != options.kernel_name) continue;
      named = true;
    } else if (entry.is_reference || (dense_kernel && !options.dense_allowed)) {
      continue;
    }
    if (!entry.supports(problem)) continue;
    (dense_kernel ? dense : found).push_back(&entry);
  }
  for (const Entry* entry : dense) {
    if (!options.kernel_name.empty() || WorthTrying(*entry, found, problem)) {
      found.push_back(entry);
    }
  }
  if (!named) {
    std::string known;
    for (absl::string_view name : names) absl::StrAppend(&known, " ", name);
    return absl::NotFoundError(absl::StrCat("no kernel named \"",
                                            options.kernel_name,
                                            "\" on cpu; there are:", known));
  }
  if (options.same_in_every_batch) KeepAlike(problem, found);
  if (found.empty()) {
    return absl::UnimplementedError(absl::StrCat(
        options.kernel_name.empty() ? "no kernel" : options.kernel_name,
        " on cpu cannot compute ", problem.ToString()));
  }
  return found;
}

// Kernels may throw while they are built (no memory, a wrapped library's
// error); exceptions end here.
template <class Entry, class Weights>
absl::StatusOr<std::shared_ptr<const Kernel>> Make(
    const Entry& entry, const std::shared_ptr<const Weights>& weights) {
  try {
    return std::shared_ptr<const Kernel>(entry.make(weights));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        absl::StrCat("out of memory building ", entry.name, " for ",
                     weights->problem.ToString()));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("building ", entry.name, " for ",
                                            weights->problem.ToString(), ": ",
                                            error.what()));
  }
}

using SharedKernels = std::vector<std::shared_ptr<const Kernel>>;

// The candidates of a layer as the tuner sees them.
template <class Entry, class Weights>
class PlannedLayer : public TunedLayer {
 public:
  PlannedLayer(Entries<Entry> candidates,
               std::shared_ptr<const Weights> weights, int64_t weights_bytes,
               base::Progress* progress)
      : entries_(std::move(candidates)),
        weights_(std::move(weights)),
        weights_bytes_(weights_bytes),
        progress_(progress),
        made_(entries_.size()) {}

  absl::string_view device() const override { return "cpu"; }
  std::vector<Candidate> Candidates(int64_t) const override {
    std::vector<Candidate> all;
    for (size_t k = 0; k < entries_.size(); ++k) all.push_back({k, 0});
    return all;
  }
  std::string Name(const Candidate& candidate) const override {
    return std::string(entries_[candidate.kernel]->name);
  }
  // Of all candidates, in their order.
  std::string Names() const {
    return absl::StrJoin(entries_, " ",
                         [](std::string* names, const Entry* entry) {
                           absl::StrAppend(names, entry->name);
                         });
  }
  std::optional<double> Cost(const Candidate& candidate,
                             int64_t rows) const override {
    return 1e-6 * entries_[candidate.kernel]->cost(weights_->problem, rows);
  }
  absl::StatusOr<double> Sample(const Candidate& candidate,
                                int64_t rows) override {
    FFF_RETURN_IF_ERROR(base::Advance(progress_, 0));
    return stopwatch_->Sample(candidate.kernel, rows);
  }

  // Builds all candidates, for measuring. Returns the largest batch that can be
  // measured; 0 when they are too large, could not all be built, or take longer
  // than `budget_s` to pack: then only those that are chosen are built.
  int64_t PrepareToMeasure(double budget_s) {
    if (entries_.size() < 2 || weights_bytes_ > kTunedWeightsBytesMax) {
      return 0;
    }
    const Clock::time_point start = Clock::now();
    std::vector<const Kernel*> kernels;
    for (size_t k = 0; k < entries_.size(); ++k) {
      if (base::SecondsSince(start) > budget_s) return 0;
      auto kernel = KernelFor(k);
      if (!kernel.ok()) {
        made_.assign(entries_.size(), nullptr);
        return 0;
      }
      kernels.push_back(kernel->get());
    }
    const auto& problem = weights_->problem;
    stopwatch_.emplace(std::move(kernels), problem.input_width,
                       problem.output_width);
    return stopwatch_->rows_max();
  }

  const KernelTraits& Traits(const Candidate& candidate) const {
    return entries_[candidate.kernel]->traits;
  }

  absl::StatusOr<std::shared_ptr<const Kernel>> KernelFor(size_t k) {
    if (made_[k] == nullptr) {
      FFF_RETURN_IF_ERROR(base::Advance(progress_, 0));
      FFF_ASSIGN_OR_RETURN(made_[k], Make(*entries_[k], weights_));
    }
    return made_[k];
  }

 private:
  const Entries<Entry> entries_;
  const std::shared_ptr<const Weights> weights_;
  const int64_t weights_bytes_;
  base::Progress* const progress_;
  SharedKernels made_;  // null: not yet
  std::optional<KernelStopwatch> stopwatch_;
};

// The choices of a layer of this shape that were measured before, or now.
template <class Entry, class Weights, class Problem>
absl::StatusOr<Choices> ChooseOrRemember(PlannedLayer<Entry, Weights>& layer,
                                         const Problem& problem,
                                         const PlanOptions& options) {
  TunerOptions tuner;
  tuner.budget_s = options.tuning_seconds;
  tuner.turns = kTurns;
  std::string key;
  if (tuner.budget_s > 0) {
    key = absl::StrCat(problem.ToString(), " by ", layer.Names());
    if (options.memo != nullptr) {
      auto known = options.memo->Find(key, options.tuning_seconds);
      if (known.has_value()) return *std::move(known);
    }
    // Building the candidates counts, but for the first batch size.
    const Clock::time_point start = Clock::now();
    tuner.measured_rows_max =
        layer.PrepareToMeasure(std::max(tuner.budget_s, kFirstBatchSeconds));
    tuner.budget_s = std::max(tuner.budget_s - base::SecondsSince(start), 1e-9);
  }
  FFF_ASSIGN_OR_RETURN(std::vector<Choices> choices,
                       ChooseKernels({&layer}, tuner));
  const bool measured = tuner.budget_s > 0 && tuner.measured_rows_max > 0;
  if (measured && options.memo != nullptr) {
    options.memo->Keep(key, options.tuning_seconds, choices[0]);
  }
  return std::move(choices[0]);
}

template <class Entry, class Weights>
absl::StatusOr<KernelPlan> Plan(absl::Span<const Entry> list,
                                const std::shared_ptr<const Weights>& weights,
                                int64_t weights_bytes,
                                const PlanOptions& options) {
  FFF_ASSIGN_OR_RETURN(auto candidates,
                       FindCandidates(list, weights->problem, options));
  PlannedLayer<Entry, Weights> layer(std::move(candidates), weights,
                                     weights_bytes, options.progress);
  FFF_ASSIGN_OR_RETURN(Choices choices,
                       ChooseOrRemember(layer, weights->problem, options));
  std::vector<KernelPlan::Step> steps;
  SharedKernels kernels;
  for (Choice& choice : choices) {
    FFF_ASSIGN_OR_RETURN(auto kernel, layer.KernelFor(choice.candidate.kernel));
    if (!options.kernel_name.empty()) {
      choice.reason = "asked for by name";
    } else if (options.same_in_every_batch &&
               layer.Traits(choice.candidate).same_in_every_batch) {
      choice.reason = "a row's bits are the same in every batch";
    }
    steps.push_back({choice.rows_min, layer.Name(choice.candidate),
                     std::move(choice.reason)});
    kernels.push_back(std::move(kernel));
  }
  return KernelPlan(std::move(steps), std::move(kernels));
}

// Index of the step that serves `rows`.
size_t StepFor(const std::vector<KernelPlan::Step>& steps, int64_t rows) {
  size_t step = 0;
  while (step + 1 < steps.size() && steps[step + 1].rows_min <= rows) ++step;
  return step;
}

}  // namespace

KernelPlan::KernelPlan(std::vector<Step> steps,
                       std::vector<std::shared_ptr<const Kernel>> kernels)
    : steps_(std::move(steps)), kernels_(std::move(kernels)) {
  FFF_CHECK(!steps_.empty() && steps_.size() == kernels_.size());
  FFF_CHECK(steps_[0].rows_min == 1);
}

void KernelPlan::RunOn(KernelInputs in, tensor::MutableRows y,
                       const RouteSink& routes,
                       ExecutionContext& context) const {
  kernels_[StepFor(steps_, y.rows)]->RunOn(in, y, routes, context);
}

absl::string_view KernelPlan::KernelNameFor(int64_t rows) const {
  return steps_[StepFor(steps_, rows)].kernel;
}

std::vector<PackedCopy> KernelPlan::packed() const {
  std::map<const void*, int64_t> distinct;
  for (const auto& kernel : kernels_) {
    for (const PackedCopy& copy : kernel->packed()) {
      distinct[copy.copy] = copy.bytes;
    }
  }
  std::vector<PackedCopy> copies;
  copies.reserve(distinct.size());
  for (const auto& [copy, bytes] : distinct) copies.push_back({copy, bytes});
  return copies;
}

bool KernelPlan::reads_plain_rows() const {
  return std::any_of(kernels_.begin(), kernels_.end(), [](const auto& kernel) {
    return kernel->reads_plain_rows();
  });
}

absl::StatusOr<KernelPlan> PlanPath(std::shared_ptr<const PathWeights> weights,
                                    const PlanOptions& options) {
  return PlanOp(graph::FffPath{{std::move(weights)}, {}}, options);
}

absl::StatusOr<std::vector<absl::string_view>> PathCandidates(
    const PathProblem& problem, const PlanOptions& options) {
  FFF_ASSIGN_OR_RETURN(
      const auto found,
      FindCandidates(KernelsOf<graph::FffPath>(), problem, options));
  std::vector<absl::string_view> names;
  for (const PathKernelEntry* entry : found) names.push_back(entry->name);
  return names;
}

absl::StatusOr<KernelPlan> PlanLeaf(std::shared_ptr<const LeafWeights> weights,
                                    const PlanOptions& options) {
  return PlanOp(graph::FffLeaf{{std::move(weights)}}, options);
}

absl::StatusOr<KernelPlan> PlanDense(
    std::shared_ptr<const DenseWeights> weights, const PlanOptions& options) {
  return PlanOp(graph::Linear{{std::move(weights)}}, options);
}

absl::StatusOr<KernelPlan> PlanOp(const graph::Op& op,
                                  const PlanOptions& options) {
  return graph::Visit(op, [&](const auto& o) {
    return Plan(KernelsOf<std::decay_t<decltype(o)>>(), o.weights,
                o.weights_bytes(), options);
  });
}

KernelChoice ChoiceOf(const graph::Op& op) {
  return graph::Visit(op, [](const auto& o) {
    KernelChoice choice;
    for (const auto& entry : KernelsOf<std::decay_t<decltype(o)>>()) {
      if (entry.is_reference) continue;
      ++choice.kernels;
      choice.moves_sums |= entry.traits.own_order_of_sums;
    }
    return choice;
  });
}

}  // namespace fff::engine
