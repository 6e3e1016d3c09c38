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

  float Bias(int32_t node) const { return bias != nullptr ? bias[node] : 0; }
  // 1 when z sends a row right. NaN goes left, -0.0 counts as 0.
  int32_t Right(float z) const {
    return static_cast<int32_t>(z > 0) | (tie_right & (z == 0));
  }
};

// What Descend steps when nothing is to be fetched ahead.
struct NoPrefetch {
  void Step() {}
};

// Fetches rows of floats into L1 some rows before the walk comes to them, a few
// lines a step, so that memory works while the multipliers do.
class RowPrefetch {
 public:
  // The rows base + id[0 .. count) * width in that order, `rows_ahead` before
  // their turn (0: never); the walk takes `steps_a_row` steps for each.
  RowPrefetch(const float* base, const int32_t* id, int64_t count,
              int64_t width, int64_t rows_ahead, double steps_a_row)
      : base_(base), id_(id), count_(count), width_(width), row_(rows_ahead) {
    if (rows_ahead == 0) row_ = count_;
    const int64_t lines = (width + kLine - 1) / kLine;
    lines_a_step_ =
        static_cast<int64_t>(static_cast<double>(lines) / steps_a_row) + 1;
  }

  void Step() {
    for (int64_t i = 0; i < lines_a_step_ && row_ < count_; ++i) {
      __builtin_prefetch(base_ + id_[row_] * width_ + column_);
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
  int64_t row_;
  int64_t column_ = 0;
};

// First node of a level.
inline int32_t LevelBegin(int level) { return (int32_t{1} << level) - 1; }

}  // namespace fff::engine
