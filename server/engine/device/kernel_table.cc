#include "server/engine/device/kernel_table.h"

#include <algorithm>

#include "server/base/check.h"

namespace fff::engine {

void ScratchNeed::Cover(const ScratchNeed& other) {
  FFF_CHECK(other.buckets <= kBucketsMax);
  bytes = std::max(bytes, other.bytes);
  buckets = std::max(buckets, other.buckets);
  workspace_bytes = std::max(workspace_bytes, other.workspace_bytes);
}

RowArgs PieceOf(const LayerShape& shape, const RowArgs& rows, int64_t begin,
                int64_t count) {
  FFF_CHECK(count > 0 && begin + count <= rows.rows);
  RowArgs piece = rows;
  piece.rows = static_cast<int>(count);
  piece.x = static_cast<const char*>(rows.x) + begin * shape.x_bytes();
  piece.y = static_cast<char*>(rows.y) + begin * shape.y_bytes();
  const int64_t paths = begin * shape.trees;
  if (piece.leaves != nullptr) piece.leaves += paths;
  if (piece.margins != nullptr) piece.margins += paths * shape.decisions;
  return piece;
}

}  // namespace fff::engine
