#pragma once

#include <cstdint>
#include <vector>

#include "server/graph/graph.h"

namespace fff::engine {

// Where a value lies while a batch runs: in the caller's inputs or outputs, or
// in a slot of the lane's arena.
struct Place {
  enum class Where { kInput, kOutput, kArena };
  Where where = Where::kArena;
  size_t index = 0;  // of the port or the slot
};

// Which values share memory: a slot serves one value after another, each from
// the node that makes it to the last that reads it. A chain needs two slots, a
// residual three.
struct MemoryPlan {
  std::vector<Place> places;         // by value
  std::vector<int64_t> slot_widths;  // floats per row, of the widest value
  int64_t tokens = 1;  // per row, as the node sees them that sees most

  int64_t floats_per_row() const;
};

// Node by node, a value takes the free slot that grows least. A value that its
// only reader may overwrite (graph::Blend's first input) shares the place of
// that reader's output.
MemoryPlan PlanMemory(const graph::Graph& graph);

// Rows per block for a batch of `rows` whose intermediates hold
// `floats_per_row`: as many as keep them in a shared cache. There are enough
// rows that a block's products outweigh reading the weights once more, and
// never more than fit a fixed amount of memory. At least 1; blocks are of even
// size. `tokens`: MemoryPlan::tokens.
int64_t RowsPerBlock(int64_t rows, int64_t floats_per_row, int64_t tokens = 1);

}  // namespace fff::engine
