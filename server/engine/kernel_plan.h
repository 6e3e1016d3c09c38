#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/base/progress.h"
#include "server/engine/kernel_list.h"
#include "server/graph/op.h"

namespace fff::engine {

class TuningMemo;

struct PlanOptions {
  // Non-empty: use exactly this kernel, or fail if it cannot serve the problem.
  std::string kernel_name;
  // What measuring the candidates on this machine may take; 0: choose by
  // predicted cost alone, which gives the same plan every time. A measured plan
  // may change from build to build where kernels are close. That moves results
  // by rounding at most, routes not at all: all kernels decide with the same
  // bits.
  double tuning_seconds = 0;
  // Whether kernels that evaluate an FFF layer densely are candidates, too.
  bool dense_allowed = false;
  // For an op in front of an FFF layer, whose routes its rounding could move:
  // one kernel for all batch sizes, whose rows have the same bits in every
  // batch, by predicted cost at kAlikeRows rows. Without effect on a family
  // that has no such kernel.
  bool same_in_every_batch = false;
  // Measurements of layers of the same shape; may be null.
  TuningMemo* memo = nullptr;
  // May end the planning between two kernels or measurements, which then
  // returns CANCELLED; may be null.
  base::Progress* progress = nullptr;
};

// Which kernel serves which batch size of one layer. Immutable after Plan…;
// Run may be called from many threads, each with its own context.
class KernelPlan {
 public:
  struct Step {
    int64_t rows_min;    // serves batches of rows_min rows and more
    std::string kernel;  // name
    std::string reason;  // why it was picked, one clause
  };

  // Runs the kernel planned for y.rows. Contract as Kernel::RunOn.
  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink& routes,
             ExecutionContext& context) const;
  // The same for an op of one float32 input.
  void Run(tensor::ConstRows x, tensor::MutableRows y, const RouteSink& routes,
           ExecutionContext& context) const {
    const tensor::TypedRows in = x;
    RunOn(KernelInputs({&in, 1}), y, routes, context);
  }

  // Ascending rows_min, the first at 1, never empty.
  const std::vector<Step>& steps() const { return steps_; }
  absl::string_view KernelNameFor(int64_t rows) const;
  // The copies that its kernels hold, each once.
  std::vector<PackedCopy> packed() const;
  // Kernel::reads_plain_rows of any.
  bool reads_plain_rows() const;

  KernelPlan(std::vector<Step> steps,
             std::vector<std::shared_ptr<const Kernel>> kernels);

 private:
  std::vector<Step> steps_;
  std::vector<std::shared_ptr<const Kernel>> kernels_;  // one a step
};

// Builds a plan for the CPU: candidates that support the problem, for each
// batch-size bucket (1, 2, 4, ... 16384) the one that was fastest when measured
// (kernel_tuner.h), or that has the least predicted cost where it was not.
// Measuring builds every candidate, so packed copies of losers exist for a
// moment. Building counts against the tuning time; a layer of which it takes
// all of it, for which memory does not suffice, or of more than
// kTunedWeightsBytesMax, is not measured. Dense kernels of FFF layers are
// candidates where the options allow them and prediction comes near (at most
// kDenseCostMax times the least of the others, at one bucket at least), so that
// no time is spent on measuring what cannot win. UNIMPLEMENTED when no kernel
// on the device supports the problem; NOT_FOUND for an unknown kernel_name.
inline constexpr int64_t kAlikeRows = 64;
inline constexpr int64_t kTunedWeightsBytesMax = int64_t{512} << 20;
inline constexpr double kDenseCostMax = 1.5;
absl::StatusOr<KernelPlan> PlanPath(std::shared_ptr<const PathWeights> weights,
                                    const PlanOptions& options);
// The kernels among which PlanPath would choose, by name. Same errors.
absl::StatusOr<std::vector<absl::string_view>> PathCandidates(
    const PathProblem& problem, const PlanOptions& options);
absl::StatusOr<KernelPlan> PlanLeaf(std::shared_ptr<const LeafWeights> weights,
                                    const PlanOptions& options);
absl::StatusOr<KernelPlan> PlanDense(
    std::shared_ptr<const DenseWeights> weights, const PlanOptions& options);

// Any op's plan; what PlanPath, PlanLeaf and PlanDense do for theirs.
absl::StatusOr<KernelPlan> PlanOp(const graph::Op& op,
                                  const PlanOptions& options);
// The kernels among which PlanOp would choose, all problems taken together.
struct KernelChoice {
  int kernels = 0;
  bool moves_sums = false;  // KernelTraits::own_order_of_sums of any
};
KernelChoice ChoiceOf(const graph::Op& op);

}  // namespace fff::engine
