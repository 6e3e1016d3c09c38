#pragma once

#include <cstdint>

#include "server/engine/kernel.h"
#include "server/graph/graph.h"

namespace fff::rpc {

// Behind the output's name: the output of the protocol that says which columns
// the strongest are.
inline constexpr char kTopIdsSuffix[] = "_ids";

// What of the output's columns a request wants.
struct TopK {
  int64_t k = 0;  // the strongest so many; 0: all columns
  // As texts "value:index:label", the protocol's classification extension.
  bool classification = false;
};

// How large an answer is: [rows, outputs_per_row, columns].
struct AnswerShape {
  int64_t rows = 0;
  // One, or one per token, or one per position that was asked for.
  int64_t outputs_per_row = 1;
  int64_t columns = 0;  // of y: the output's, or top.k
  TopK top;

  int64_t row_width() const { return outputs_per_row * columns; }
};

// `positions`: per row, 0 where none were asked for.
inline AnswerShape ShapeOfAnswer(const graph::Port& output,
                                 const engine::Extent& extent,
                                 int64_t positions, const TopK& top) {
  AnswerShape shape;
  shape.rows = extent.rows;
  shape.top = top;
  shape.columns = top.k > 0 ? top.k : output.width();
  if (output.sequence) shape.outputs_per_row = extent.tokens / extent.rows;
  if (positions > 0) shape.outputs_per_row = positions;
  return shape;
}

}  // namespace fff::rpc
