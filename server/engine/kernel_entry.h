#pragma once

#include <memory>

#include "absl/strings/string_view.h"
#include "server/engine/kernel.h"
#include "server/engine/kernel_traits.h"
#include "server/engine/weights.h"
#include "server/graph/picture_ops.h"

// What a kernel's own file says of it, for the list of all kernels.
namespace fff::engine {

template <class Weights>
struct KernelEntry {
  using Problem = decltype(Weights::problem);

  absl::string_view name;  // by algorithm: "path_walk", "leaf_grouped"
  // For parity tests only; the selector never picks it by itself.
  bool is_reference;
  // Can compute this problem at all. Stands in the kernel's own file.
  bool (*supports)(const Problem& problem);
  // Predicted cost in us of one batch of `rows` rows, comparable between the
  // entries of one list; the selector takes the least. Stands in the kernel's
  // own file, with the measurement it came from.
  double (*cost)(const Problem& problem, int64_t rows);
  std::unique_ptr<Kernel> (*make)(std::shared_ptr<const Weights> weights);
  // A kernel that evaluates beside the path is a candidate only where
  // PlanOptions::dense_allowed says so.
  KernelTraits traits = {};
};

using PathKernelEntry = KernelEntry<PathWeights>;
using LeafKernelEntry = KernelEntry<LeafWeights>;
using DenseKernelEntry = KernelEntry<DenseWeights>;
using Conv2dKernelEntry = KernelEntry<graph::Conv2dWeights>;

}  // namespace fff::engine
