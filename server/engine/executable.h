#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/engine/execution_context.h"
#include "server/engine/kernel.h"
#include "server/engine/kernel_plan.h"

namespace fff::engine {

// Sees, and may change, what a node has made of a block of rows: `y` has a row
// per row of the block, or per token.
using NodeObserver = std::function<void(size_t node, tensor::MutableRows y)>;

// Takes an output as it is made: rows of it, the first of which is `first`.
using OutputSink = std::function<void(int64_t first, tensor::ConstRows y)>;

// The rows of one call. All inputs and outputs have as many; they belong to the
// caller, who keeps them until Run returns, and outputs overlap no input.
struct Batch {
  KernelInputs inputs;                            // one per port, in its order
  absl::Span<const tensor::MutableRows> outputs;  // likewise
  // Empty (no routing wanted), or one sink per layer of the graph; sinks of
  // layers that do not route are ignored.
  absl::Span<const RouteSink> routes;
  // Null, or called after every node of every block. By the CPU alone.
  const NodeObserver* observer = nullptr;
  // Null, or what takes the first output instead of outputs[0], which is then
  // not written: every row once, in order, in blocks of a few MB. `outputs` may
  // be empty where there is no other.
  const OutputSink* sink = nullptr;
  // Empty, or, of a graph with a tail (graph::Graph), the tokens whose outputs
  // are wanted, counted from the batch's first; the output has a row for each.
  absl::Span<const int32_t> selected = {};

  // Whether the first output goes another way than from the nodes into
  // `outputs`.
  bool in_parts() const { return sink != nullptr || !selected.empty(); }

  // An input of sequences has a row per token, as has such an output.
  Extent extent() const {
    const Sequences& sequences = inputs.sequences();
    if (!sequences.empty()) return {sequences.rows(), sequences.tokens()};
    return {inputs[0].rows, inputs[0].rows};
  }
  int64_t rows() const { return extent().rows; }
};

// What serves one node of the graph.
struct NodeReport {
  std::vector<KernelPlan::Step> steps;  // which kernel from how many rows on
  // Beyond the op's own weights. Nodes, and models, may share copies.
  std::vector<PackedCopy> packed = {};
  // Whether its kernels hold the op's weights as they are (Kernel).
  bool reads_plain_rows = true;

  int64_t packed_bytes() const;
};

// A graph made ready for one device: kernels are chosen, memory is planned.
// Immutable; Run may be called from many threads, each with its own context.
class Executable {
 public:
  virtual ~Executable() = default;
  // Writes every element of the outputs and of the sinks. OK on the CPU always.
  virtual absl::Status Run(const Batch& batch,
                           ExecutionContext& context) const = 0;
  // By node.
  virtual absl::Span<const NodeReport> report() const = 0;
};

// y [rows, output width] from x [rows, input width], both of a model with one
// float32 input and one output; sinks as Batch::routes.
struct RowsBatch {
  RowsBatch(tensor::ConstRows x, tensor::MutableRows y,
            absl::Span<const RouteSink> sinks = {})
      : input(x), output(y), routes(sinks) {}
  operator Batch() const {  // NOLINT(google-explicit-constructor)
    return {KernelInputs({&input, 1}), {&output, 1}, routes};
  }
  tensor::TypedRows input;
  tensor::MutableRows output;
  absl::Span<const RouteSink> routes;
};

}  // namespace fff::engine
