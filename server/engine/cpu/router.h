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

// What Descend steps when nothing is to be fetched ahead.
struct NoPrefetch {
  void Step() {}
};

// Fetches rows of floats that a later block will read into the L2 cache, a few
// lines a step, so that memory works while the multipliers do.
class RowPrefetch {
 public:
  // The rows base + id[0 .. count) * width, over about `steps` steps.
  RowPrefetch(const float* base, const int32_t* id, int64_t count,
              int64_t width, int64_t steps)
      : base_(base), id_(id), count_(count), width_(width) {
    const int64_t lines = count * ((width + kLine - 1) / kLine);
    lines_a_step_ = steps > 0 ? (lines + steps - 1) / steps : 0;
  }

  void Step() {
    for (int64_t i = 0; i < lines_a_step_ && row_ < count_; ++i) {
      __builtin_prefetch(base_ + id_[row_] * width_ + column_, 0, 2);
      column_ += kLine;
      if (column_ >= width_) {
        column_ = 0;
        ++row_;
      }
    }
  }

 private:
  static constexpr int64_t kLine = 16;  // floats
  const float* base_;
  const int32_t* id_;
  int64_t count_;
  int64_t width_;
  int64_t lines_a_step_;
  int64_t row_ = 0;
  int64_t column_ = 0;
};

// First node of a level.
inline int32_t LevelBegin(int level) { return (int32_t{1} << level) - 1; }

}  // namespace fff::engine
