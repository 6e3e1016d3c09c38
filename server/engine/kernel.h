#pragma once

#include <cstdint>
#include <memory>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/engine/execution_context.h"
#include "server/tensor/float_array.h"
#include "server/tensor/typed_rows.h"

namespace fff::engine {

// Where a kernel reports the way each row took. Both arrays are optional
// (null) and owned by the caller. A row here is one of the kernel: for an op on
// the tokens of a sequence, one token.
struct RouteSink {
  // [rows, trees] (leaf family: trees = 1). Position on the tree's bottom
  // level, 0 = leftmost: the leaf index (leaf family) or the last visited node
  // minus (2^(levels-1) - 1) (path family). All ancestors follow from it.
  int32_t* leaves = nullptr;
  // [rows, trees, decisions]: the z of every visited node, root first;
  // decisions = depth (leaf family) or levels (path family).
  float* margins = nullptr;
};

using KernelInputs = absl::Span<const tensor::TypedRows>;

// One algorithm bound to one set of weights. Immutable after construction;
// Run may be called from many threads at once, each with its own context.
class Kernel {
 public:
  virtual ~Kernel() = default;
  // Algorithm name as in the kernel list, e.g. "path_walk".
  virtual absl::string_view name() const = 0;
  // Bytes this kernel holds beyond the weights it was given (packed copies).
  virtual int64_t packed_bytes() const { return 0; }
  // Computes y [rows, output_width] from the op's inputs, in its order, each
  // [rows, its width]; y overlaps none of them, but that of a
  // graph::MayOverwrite op may be the first. rows may be 0. Every element of y
  // and of the sink is written. A row's result does not depend on the other
  // rows beyond rounding, its route not at all.
  virtual void RunOn(KernelInputs in, tensor::MutableRows y,
                     const RouteSink& routes,
                     ExecutionContext& context) const = 0;
  // The same for an op of one float32 input.
  void Run(tensor::ConstRows x, tensor::MutableRows y, const RouteSink& routes,
           ExecutionContext& context) const {
    const tensor::TypedRows in = x;
    RunOn({&in, 1}, y, routes, context);
  }
};

}  // namespace fff::engine
