#pragma once

#include <cstdint>

#include "server/engine/problem.h"

namespace fff::engine {

// One tree's decisions as a kernel's inner loop sees them: pointers into
// weights that the kernel keeps alive. Node ids are heap order, root 0.
struct Router {
  const float* weights = nullptr;  // [nodes, width]
  const float* bias = nullptr;     // [nodes]; null: none
  int64_t width = 0;
  bool tie_right = true;

  // 1 when z sends a row right. NaN goes left, -0.0 counts as 0.
  int32_t Right(float z) const {
    return static_cast<int32_t>(z > 0) | (tie_right & (z == 0));
  }
};

// First node of a level.
inline int32_t LevelBegin(int level) { return (int32_t{1} << level) - 1; }

}  // namespace fff::engine
