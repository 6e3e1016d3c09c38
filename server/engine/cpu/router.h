#pragma once

#include <cstdint>
#include <type_traits>

#include "server/engine/problem.h"
#include "server/engine/weights.h"
#include "server/tensor/float_array.h"

namespace fff::engine {

// Rows of weights, held as W: float, Bf16 or int8_t. Points into weights that
// the kernel keeps alive.
template <class W>
struct WeightRows {
  const W* data = nullptr;
  int64_t stride = 0;            // elements from row to row
  const float* scale = nullptr;  // of each row; null: 1

  const W* Row(int64_t row) const { return data + row * stride; }
  // A product with the stored row -> one with the weights.
  float Scaled(float product, int64_t row) const {
    return scale != nullptr ? product * scale[row] : product;
  }
  WeightRows From(int64_t row) const {
    return {Row(row), stride, scale != nullptr ? scale + row : nullptr};
  }
};

// The matrix in the form in which a layer holds it: `full` [rows, width] when W
// is float, else `reduced`.
template <class W>
WeightRows<W> RowsOf(const tensor::FloatArray& full, int64_t width,
                     const ReducedMatrix& reduced) {
  if constexpr (std::is_same_v<W, float>) {
    return {full.data(), width, nullptr};
  } else {
    return {reduced.data<W>(), reduced.stride(), reduced.scale()};
  }
}

// One tree's decisions as a kernel's inner loop sees them: pointers into
// weights that the kernel keeps alive. Node ids are heap order, root 0.
template <class W>
struct Router {
  WeightRows<W> weights;        // [nodes, width]
  const float* bias = nullptr;  // [nodes]; null: none
  int64_t width = 0;
  bool tie_right = true;

  float Bias(int32_t node) const { return bias != nullptr ? bias[node] : 0; }
  // The node's z, given the dot product of its stored weights.
  float Z(float dot, int32_t node) const {
    return weights.Scaled(dot, node) + Bias(node);
  }
  // 1 when z sends a row right. NaN goes left, -0.0 counts as 0.
  int32_t Right(float z) const {
    return static_cast<int32_t>(z > 0) | (tie_right & (z == 0));
  }
};

// What Descend steps when nothing is to be fetched ahead.
struct NoPrefetch {
  void Step() {}
};

enum class CacheLevel { kL1, kL2 };

// Fetches rows of floats into a cache some rows before the walk comes to them,
// a few lines per step, so that memory works while the multipliers do.
class RowPrefetch {
 public:
  // The rows base + id[0 .. count) * width in that order, `rows_ahead` before
  // their turn (0: never); the walk takes `steps_a_row` steps for each.
  RowPrefetch(const float* base, const int32_t* id, int64_t count,
              int64_t width, int64_t rows_ahead, CacheLevel to,
              double steps_a_row)
      : base_(base),
        id_(id),
        count_(count),
        width_(width),
        to_(to),
        row_(rows_ahead) {
    if (rows_ahead == 0 || steps_a_row <= 0) row_ = count_;
    if (row_ < count_) {
      const int64_t lines = (width + kLine - 1) / kLine;
      lines_a_step_ =
          static_cast<int64_t>(static_cast<double>(lines) / steps_a_row) + 1;
    }
    Advance();
  }

  void Step() {
    for (int64_t i = 0; i < lines_a_step_; ++i) {
      if (to_ == CacheLevel::kL1) {
        __builtin_prefetch(at_);
      } else {
        __builtin_prefetch(at_, 0, 2);
      }
      at_ += kLine;
      if (at_ >= end_) Advance();
    }
  }

 private:
  static constexpr int64_t kLine = 16;  // floats

  // To the next row; after the last one steps do nothing.
  void Advance() {
    if (row_ >= count_) {
      lines_a_step_ = 0;
      return;
    }
    at_ = base_ + id_[row_++] * width_;
    end_ = at_ + width_;
  }

  const float* base_;
  const int32_t* id_;
  int64_t count_;
  int64_t width_;
  CacheLevel to_;
  int64_t lines_a_step_ = 0;
  int64_t row_;
  const float* at_ = nullptr;   // next line to fetch
  const float* end_ = nullptr;  // of its row
};

// First node of a level.
inline int32_t LevelBegin(int level) { return (int32_t{1} << level) - 1; }

}  // namespace fff::engine
