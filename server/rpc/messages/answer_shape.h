#pragma once

#include <cstdint>

#include "absl/container/inlined_vector.h"
#include "absl/types/span.h"
#include "server/engine/kernel.h"
#include "server/graph/graph.h"
#include "server/importer/input_config.h"

namespace fff::rpc {

// Behind the main output's name: the output of the protocol that says which
// columns the strongest are.
inline constexpr auto& kTopIdsSuffix = importer::kTopIdsSuffix;

// What a model answers: the main output first.
struct OutputSpec {
  // NOLINTNEXTLINE(google-explicit-constructor): of a graph.
  OutputSpec(const graph::Graph& graph) : ports(graph.outputs()) {}
  // NOLINTNEXTLINE(google-explicit-constructor): of one output.
  OutputSpec(const graph::Port& port) : ports(&port, 1) {}

  const graph::Port& main() const { return ports[0]; }

  absl::Span<const graph::Port> ports;
};

// By output, whether a request wants it.
using WantedOutputs = absl::InlinedVector<bool, 8>;

// What of the main output's columns a request wants.
struct TopK {
  int64_t k = 0;  // the strongest so many; 0: all columns
  // As texts "value:index:label", the protocol's classification extension.
  bool classification = false;
};

// How large an answer is: the main output is [rows, outputs_per_row, columns].
struct AnswerShape {
  int64_t rows = 0;
  // One, or one per token, or one per position that was asked for.
  int64_t outputs_per_row = 1;
  // Of y: the output's, or top.k; 0 where it is not wanted.
  int64_t columns = 0;
  TopK top;
  // Numbers per row of each output behind the main one; 0: it is not wanted.
  absl::InlinedVector<int64_t, 2> others = {};

  int64_t row_width() const { return outputs_per_row * columns; }
};

// `positions`: per row, 0 where none were asked for.
inline AnswerShape ShapeOfAnswer(const OutputSpec& spec,
                                 const WantedOutputs& wanted,
                                 const engine::Extent& extent,
                                 int64_t positions, const TopK& top) {
  const int64_t tokens = extent.tokens / extent.rows;
  AnswerShape shape;
  shape.rows = extent.rows;
  shape.top = top;
  if (wanted[0]) shape.columns = top.k > 0 ? top.k : spec.main().width();
  if (spec.main().sequence) shape.outputs_per_row = tokens;
  if (positions > 0) shape.outputs_per_row = positions;
  for (size_t i = 1; i < spec.ports.size(); ++i) {
    const graph::Port& port = spec.ports[i];
    const int64_t numbers = port.width() * (port.sequence ? tokens : 1);
    shape.others.push_back(wanted[i] ? numbers : 0);
  }
  return shape;
}

}  // namespace fff::rpc
