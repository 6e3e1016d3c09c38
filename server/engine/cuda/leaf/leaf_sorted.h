#pragma once

#include <algorithm>
#include <cstdint>

#include "server/engine/cuda/launch.h"

// What leaf kernels that sort rows by leaf share on the host side.
namespace fff::engine::cuda {

// What the hidden activations of one launch may take.
inline constexpr int64_t kHiddenBytesMax = int64_t{64} << 20;
// Below so many rows per leaf there is nothing to share.
inline constexpr int64_t kSharedRowsMin = 8;

inline int LeavesOf(const LeafShape& shape) { return 1 << shape.args.depth; }

// Blocks of `width` columns fit the grid, and the leaves the sort.
inline bool SortsByLeaf(const LeafShape& shape, int width) {
  return shape.args.leaf_width <= kGridMax * width &&
         shape.y_pitch <= kGridMax * width && LeavesOf(shape) <= kBucketsMax;
}
inline bool LeavesAreShared(const LeafShape& shape, const Ask& ask) {
  return ask.rows >= kSharedRowsMin * LeavesOf(shape);
}

// For hidden activations of `row_bytes` per row.
inline ScratchNeed HiddenNeed(const LeafShape& shape, int64_t row_bytes,
                              int64_t rows_max) {
  return {std::max(row_bytes, std::min(kHiddenBytesMax, rows_max * row_bytes)),
          LeavesOf(shape), 0};
}
// The descent alone, at most kBucketsMax leaves: routes, the rows filed under
// their leaves, and the tiles that these make, TilesFor(rows, leaves).
absl::Status LeafSplit(const LeafShape& shape, const RowArgs& rows,
                       const LaunchArgs& launch);

// LeafSplit and start(rows) for as many rows at a time as the scratch has room
// for.
template <class Start>
absl::Status InHiddenPieces(const LeafShape& shape, const LaunchArgs& launch,
                            int64_t row_bytes, const Start& start) {
  FFF_CHECK(launch.scratch.size >= row_bytes);
  const int64_t together = launch.scratch.size / row_bytes;
  return InPieces(shape, launch.rows, together, [&](const RowArgs& rows) {
    absl::Status split = LeafSplit(shape, rows, launch);
    return split.ok() ? start(rows) : split;
  });
}

}  // namespace fff::engine::cuda
