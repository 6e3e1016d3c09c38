#include "server/engine/kernel_plan.h"

#include <algorithm>
#include <exception>
#include <limits>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/status_macros.h"
#include "server/engine/kernel_tuner.h"

namespace fff::engine {
namespace {

constexpr int64_t kRowsBucketMax = 16384;

template <class Entry>
using Candidates = std::vector<const Entry*>;

// Whether a dense kernel is predicted to come near the others for any batch.
template <class Entry, class Problem>
bool WorthTrying(const Entry& dense, const Candidates<Entry>& others,
                 const Problem& problem) {
  for (int64_t rows = 1; rows <= kRowsBucketMax; rows *= 2) {
    double least = std::numeric_limits<double>::infinity();
    for (const Entry* other : others) {
      least = std::min(least, other->cost(problem, rows));
    }
    if (dense.cost(problem, rows) <= kDenseCostMax * least) return true;
  }
  return false;
}

// What may serve the problem: on the device, able to, and neither the oracle
// nor dense where that is not allowed, unless it was asked for by name.
template <class Entry, class Problem>
absl::StatusOr<Candidates<Entry>> FindCandidates(absl::Span<const Entry> list,
                                                 const Problem& problem,
                                                 const PlanOptions& options) {
  Candidates<Entry> found;
  Candidates<Entry> dense;
  std::vector<absl::string_view> names;
  bool named = options.kernel_name.empty();
  for (const Entry& entry : list) {
    if (entry.device != options.device) continue;
    names.push_back(entry.name);
    if (!options.kernel_name.empty()) {
      if (entry.name != options.kernel_name) continue;
      named = true;
    } else if (entry.is_reference || (entry.dense && !options.dense_allowed)) {
      continue;
    }
    if (!entry.supports(problem)) continue;
    (entry.dense ? dense : found).push_back(&entry);
  }
  for (const Entry* entry : dense) {
    if (!options.kernel_name.empty() || WorthTrying(*entry, found, problem)) {
      found.push_back(entry);
    }
  }
  if (!named) {
    std::string known;
    for (absl::string_view name : names) absl::StrAppend(&known, " ", name);
    return absl::NotFoundError(
        absl::StrCat("no kernel named \"", options.kernel_name, "\" on ",
                     Name(options.device), "; there are:", known));
  }
  if (found.empty()) {
    return absl::UnimplementedError(absl::StrCat(
        options.kernel_name.empty() ? "no kernel" : options.kernel_name, " on ",
        Name(options.device), " cannot compute ", problem.ToString()));
  }
  return found;
}

// The least cost, and against whom: the two best, which may be the same.
template <class Entry>
struct Choice {
  const Entry* best;
  const Entry* second;
};

template <class Entry, class Problem>
Choice<Entry> Choose(const Candidates<Entry>& candidates,
                     const Problem& problem, int64_t rows) {
  Candidates<Entry> order = candidates;
  std::stable_sort(order.begin(), order.end(),
                   [&](const Entry* a, const Entry* b) {
                     return a->cost(problem, rows) < b->cost(problem, rows);
                   });
  return {order[0], order[order.size() > 1 ? 1 : 0]};
}

template <class Entry, class Problem>
std::string Reason(const Choice<Entry>& choice, const Problem& problem,
                   int64_t rows, const PlanOptions& options) {
  if (!options.kernel_name.empty()) return "asked for by name";
  if (choice.best == choice.second) {
    return absl::StrCat("the only kernel on ", Name(options.device),
                        " for this layer");
  }
  const auto n = static_cast<double>(rows);
  return absl::StrFormat(
      "least predicted cost: %.3g us/row at %d rows against %s %.3g",
      choice.best->cost(problem, rows) / n, rows, choice.second->name,
      choice.second->cost(problem, rows) / n);
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

int64_t BytesOf(const PathWeights& weights) {
  return 4 * (weights.x.size() + weights.y.size()) + weights.reduced_x.bytes() +
         weights.reduced_y.bytes();
}
int64_t BytesOf(const LeafWeights& weights) {
  return 4 * (weights.node_weights.size() + weights.w1.size() +
              weights.w2.size()) +
         weights.reduced_node_weights.bytes() + weights.reduced_w1.bytes() +
         weights.reduced_w2.bytes();
}
int64_t BytesOf(const DenseWeights& weights) { return 4 * weights.w.size(); }

using SharedKernels = std::vector<std::shared_ptr<const Kernel>>;

// What the candidates took, with the candidates built; empty when they were not
// to be measured or could not all be built.
struct Tuning {
  SharedKernels kernels;
  std::vector<TunedTimes> times;
};

template <class Entry, class Weights>
Tuning Tune(const Candidates<Entry>& candidates,
            const std::shared_ptr<const Weights>& weights,
            const PlanOptions& options) {
  Tuning tuning;
  if (options.tuning_seconds <= 0 || candidates.size() < 2 ||
      BytesOf(*weights) > kTunedWeightsBytesMax) {
    return tuning;
  }
  std::vector<const Kernel*> kernels;
  for (const Entry* entry : candidates) {
    auto kernel = Make(*entry, weights);
    if (!kernel.ok()) return {};
    kernels.push_back(kernel->get());
    tuning.kernels.push_back(*std::move(kernel));
  }
  tuning.times = MeasureKernels(kernels, weights->problem.input_width,
                                weights->problem.output_width, kRowsBucketMax,
                                options.tuning_seconds);
  return tuning;
}

// One bucket's kernel: an index into the candidates, and why.
struct Decision {
  size_t candidate;
  std::string reason;
};

template <class Entry>
Decision DecideMeasured(const Candidates<Entry>& candidates, size_t predicted,
                        const TunedTimes& times) {
  const size_t best = FastestKernel(times.seconds, predicted);
  size_t other = best == 0 ? 1 : 0;
  for (size_t k = 0; k < times.seconds.size(); ++k) {
    if (k != best && times.seconds[k] < times.seconds[other]) other = k;
  }
  const auto rows = static_cast<double>(times.rows);
  return {best, absl::StrFormat(
                    "measured: %.3g us/row at %d rows against %s %.3g%s",
                    times.seconds[best] * 1e6 / rows, times.rows,
                    candidates[other]->name, times.seconds[other] * 1e6 / rows,
                    times.seconds[other] < times.seconds[best]
                        ? ", too close to leave the predicted one"
                        : "")};
}

template <class Entry, class Problem>
Decision Decide(const Candidates<Entry>& candidates, const Problem& problem,
                int64_t rows, const Tuning& tuning,
                const PlanOptions& options) {
  const Choice<Entry> choice = Choose(candidates, problem, rows);
  const auto predicted = static_cast<size_t>(
      std::find(candidates.begin(), candidates.end(), choice.best) -
      candidates.begin());
  for (const TunedTimes& times : tuning.times) {
    if (times.rows == rows) {
      return DecideMeasured(candidates, predicted, times);
    }
  }
  return {predicted, Reason(choice, problem, rows, options)};
}

template <class Entry, class Weights>
absl::StatusOr<KernelPlan> Plan(absl::Span<const Entry> list,
                                const std::shared_ptr<const Weights>& weights,
                                const PlanOptions& options) {
  const auto& problem = weights->problem;
  FFF_ASSIGN_OR_RETURN(const Candidates<Entry> candidates,
                       FindCandidates(list, problem, options));
  Tuning tuning = Tune(candidates, weights, options);
  SharedKernels made = std::move(tuning.kernels);
  made.resize(candidates.size());
  std::vector<KernelPlan::Step> steps;
  SharedKernels kernels;
  for (int64_t rows = 1; rows <= kRowsBucketMax; rows *= 2) {
    Decision decision = Decide(candidates, problem, rows, tuning, options);
    const Entry& entry = *candidates[decision.candidate];
    if (!steps.empty() && steps.back().kernel == entry.name) continue;
    std::shared_ptr<const Kernel>& kernel = made[decision.candidate];
    if (kernel == nullptr) {
      FFF_ASSIGN_OR_RETURN(kernel, Make(entry, weights));
    }
    steps.push_back(
        {rows, std::string(entry.name), std::move(decision.reason)});
    kernels.push_back(kernel);
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
    : steps_(std::move(steps)), kernels_(std::move(kernels)) {}

void KernelPlan::Run(tensor::ConstRows x, tensor::MutableRows y,
                     const RouteSink& routes, ExecutionContext& context) const {
  kernels_[StepFor(steps_, x.rows)]->Run(x, y, routes, context);
}

absl::string_view KernelPlan::KernelNameFor(int64_t rows) const {
  return steps_[StepFor(steps_, rows)].kernel;
}

int64_t KernelPlan::packed_bytes() const {
  std::map<const Kernel*, int64_t> distinct;
  for (const auto& kernel : kernels_) {
    distinct[kernel.get()] = kernel->packed_bytes();
  }
  int64_t total = 0;
  for (const auto& entry : distinct) total += entry.second;
  return total;
}

absl::StatusOr<KernelPlan> PlanPath(std::shared_ptr<const PathWeights> weights,
                                    const PlanOptions& options) {
  return Plan(PathKernels(), weights, options);
}

absl::StatusOr<std::vector<absl::string_view>> PathCandidates(
    const PathProblem& problem, const PlanOptions& options) {
  FFF_ASSIGN_OR_RETURN(const auto found,
                       FindCandidates(PathKernels(), problem, options));
  std::vector<absl::string_view> names;
  for (const PathKernelEntry* entry : found) names.push_back(entry->name);
  return names;
}

absl::StatusOr<KernelPlan> PlanLeaf(std::shared_ptr<const LeafWeights> weights,
                                    const PlanOptions& options) {
  return Plan(LeafKernels(), weights, options);
}

absl::StatusOr<KernelPlan> PlanDense(
    std::shared_ptr<const DenseWeights> weights, const PlanOptions& options) {
  return Plan(DenseKernels(), weights, options);
}

}  // namespace fff::engine
