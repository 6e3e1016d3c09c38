#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/engine/kernel_list.h"

namespace fff::engine {

struct PlanOptions {
  Device device = Device::kCpu;
  // Non-empty: use exactly this kernel, or fail if it cannot serve the problem.
  std::string kernel_name;
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

  // Runs the kernel planned for x.rows. Contract as Kernel::Run.
  void Run(tensor::ConstRows x, tensor::MutableRows y, const RouteSink& routes,
           ExecutionContext& context) const;

  // Ascending rows_min, the first at 1, never empty.
  const std::vector<Step>& steps() const { return steps_; }
  absl::string_view KernelNameFor(int64_t rows) const;
  int64_t packed_bytes() const;

  KernelPlan(std::vector<Step> steps,
             std::vector<std::shared_ptr<const Kernel>> kernels);

 private:
  std::vector<Step> steps_;
  std::vector<std::shared_ptr<const Kernel>> kernels_;  // one a step
};

// Builds a plan: candidates that support the problem on the device, the least
// cost for each batch-size bucket (1, 2, 4, ... 16384). UNIMPLEMENTED when no
// kernel on the device supports the problem; NOT_FOUND for an unknown
// kernel_name.
absl::StatusOr<KernelPlan> PlanPath(std::shared_ptr<const PathWeights> weights,
                                    const PlanOptions& options);
absl::StatusOr<KernelPlan> PlanLeaf(std::shared_ptr<const LeafWeights> weights,
                                    const PlanOptions& options);
absl::StatusOr<KernelPlan> PlanDense(
    std::shared_ptr<const DenseWeights> weights, const PlanOptions& options);

}  // namespace fff::engine
