#pragma once

#include <memory>
#include <utility>

#include "server/engine/kernel_list.h"

// What the kernels of ops of few operations per element share: each is the one
// kernel of its op, for every problem, and made of its weights alone.
namespace fff::engine {

// Elements that a thread takes at least; below this the hand-over costs more.
inline constexpr int64_t kGrainFloats = 16384;

template <class Weights>
class RowKernel : public Kernel {
 public:
  explicit RowKernel(std::shared_ptr<const Weights> weights)
      : weights_(std::move(weights)) {}

 protected:
  const std::shared_ptr<const Weights> weights_;
};

// us; all are bound by the caches alike.
template <class Problem>
double RowCost(const Problem& problem, int64_t rows) {
  return 1e-4 * static_cast<double>(rows * problem.input_width);
}

// The list of an op's only kernel, a RowKernel called `name`.
template <class Op, class Made>
KernelsFor<Op> OnlyKernel(absl::string_view name) {
  using Weights = typename Op::Weights;
  using Entry = KernelEntry<Weights>;
  static const Entry kEntry = [name] {
    Entry entry = {};
    entry.name = name;
    entry.supports = [](const auto&) { return true; };
    entry.cost = RowCost<typename Entry::Problem>;
    entry.make =
        [](std::shared_ptr<const Weights> weights) -> std::unique_ptr<Kernel> {
      return std::make_unique<Made>(std::move(weights));
    };
    return entry;
  }();
  return {&kEntry, 1};
}

}  // namespace fff::engine
