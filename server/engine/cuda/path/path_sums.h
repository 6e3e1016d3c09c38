#pragma once

#include <algorithm>
#include <cstdint>

#include "server/engine/cuda/launch.h"
#include "server/engine/cuda/rows/row_launches.h"

// What path kernels share on the host side: partial sums of a row, one for each
// of several parts of its trees, which a second kernel adds up.
namespace fff::engine::cuda {

// What the partial sums may take, all rows of a launch together.
inline constexpr int64_t kPartialsBytesMax = int64_t{32} << 20;

// Of one part of a row.
inline int64_t PartialBytes(const PathShape& shape) {
  return shape.y_pitch * static_cast<int64_t>(sizeof(float));
}
// Of one row, a part per tree.
inline int64_t TreeSumsBytes(const PathShape& shape) {
  return shape.trees * PartialBytes(shape);
}
inline ScratchNeed TreeSumsNeed(const PathShape& shape, int64_t rows_max) {
  ScratchNeed need;
  if (shape.trees == 1) return need;
  need.bytes =
      std::max(TreeSumsBytes(shape),
               std::min(kPartialsBytesMax, rows_max * TreeSumsBytes(shape)));
  return need;
}

// start(rows, partials) for as many rows at a time as have room for their
// parts, each followed by their sum. One part: start(rows, nullptr).
template <class Start>
absl::Status SumParts(const PathShape& shape, const LaunchArgs& launch,
                      int parts, const Start& start) {
  if (parts == 1) return start(launch.rows, nullptr);
  auto* const partials = reinterpret_cast<float*>(launch.scratch.bytes);
  const int64_t together = launch.scratch.size / (parts * PartialBytes(shape));
  FFF_CHECK(together > 0);
  return InPieces(shape, launch.rows, together, [&](const RowArgs& rows) {
    absl::Status started = start(rows, partials);
    if (!started.ok()) return started;
    return SumPartials(shape, partials, rows, parts, launch.stream);
  });
}

// Whether a warp's registers hold a row of x, as path_walk wants it.
inline bool WarpHoldsRow(const PathShape& shape) {
  return shape.x_pitch <= (shape.type == WeightType::kFp32 ? 2048 : 4096);
}
// Below this many rows sorting cannot pay: a block would get a handful.
inline constexpr int64_t kSortRowsMin = 2048;

}  // namespace fff::engine::cuda
