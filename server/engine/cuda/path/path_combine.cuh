#pragma once

#include "server/engine/cuda/row_math.cuh"

namespace fff::engine::cuda {

// The node that a path to `leaf` visits on `level` of a tree.
__device__ inline int NodeOnPath(int leaf, int level, int levels) {
  return ((1 << level) - 1) + (leaf >> (levels - 1 - level));
}

// kVector<W> floats.
template <class W>
__device__ inline Vector<W> LoadFloats(const float* p) {
  Vector<W> floats;
#pragma unroll
  for (int i = 0; i < kVector<W>; ++i) floats.v[i] = p[i];
  return floats;
}

// Adds activations[t][level] * Y[node on path] over `trees` trees, first tree
// and level first, to columns of one output row. The warp's lanes hold kStep
// vectors each at a time, so that any width is done in passes and the loads of
// a level are in flight together. `y` starts from zero, or, where it holds
// floats and `add` is set, from what is there. kExact: y_pitch is a multiple of
// a pass.
template <class W, class Y, int kStep, bool kExact>
__device__ inline void CombinePaths(const PathArgs& layer, int first_tree,
                                    int trees, const float* activations,
                                    const int* leaves, bool add, Y* y,
                                    int lane) {
  const unsigned row_bytes = static_cast<unsigned>(layer.y_pitch) * sizeof(W);
  const int64_t tree_bytes =
      ((int64_t{1} << layer.levels) - 1) * int64_t{row_bytes};
  constexpr int kPass = kStep * kWarp * kVector<W>;
  constexpr int kTogether = kStep <= 3 ? 4 : 2;  // levels
  for (int base = 0; base < layer.y_pitch; base += kPass) {
    const int column = base + lane * kVector<W>;
    Vector<W> sum[kStep];
    bool inside[kStep];
#pragma unroll
    for (int j = 0; j < kStep; ++j) {
      const int i = column + j * kWarp * kVector<W>;
      inside[j] = kExact || i < layer.y_pitch;
      sum[j] = Vector<W>{};
      if constexpr (sizeof(Y) == sizeof(float)) {
        if (add && inside[j]) sum[j] = LoadFloats<W>(y + i);
      }
    }
    // One row before the tree, where a heap that counts from 1 begins.
    const char* tree = static_cast<const char*>(layer.y_weights) +
                       first_tree * tree_bytes + column * int{sizeof(W)} -
                       row_bytes;
    for (int t = 0; t < trees; ++t, tree += tree_bytes) {
      const int bottom = leaves[t] + (1 << (layer.levels - 1));
      const float* const scale = activations + t * layer.levels;
#pragma unroll kTogether
      for (int level = 0; level < layer.levels; ++level) {
        const char* row =
            RowAt(tree, bottom >> (layer.levels - 1 - level), row_bytes);
        uint4 raw[kStep];
#pragma unroll
        for (int j = 0; j < kStep; ++j) {
          raw[j] =
              inside[j] ? LoadRaw(row + j * kWarp * 16) : uint4{0, 0, 0, 0};
        }
        const float a = scale[level];
#pragma unroll
        for (int j = 0; j < kStep; ++j) AddScaled(a, Widen<W>(raw[j]), sum[j]);
      }
    }
#pragma unroll
    for (int j = 0; j < kStep; ++j) {
      const int i = column + j * kWarp * kVector<W>;
      if (inside[j]) StoreRow(y + i, sum[j], layer.output_width - i);
    }
  }
}

// Vectors per lane in a pass of CombinePaths when a row of x takes kChunks.
template <int kChunks, bool kExact>
inline constexpr int kCombineStep = kExact&& kChunks % 3 != 0 ? 2 : 3;

// Whether both pitches are what kExact of kChunks asks for.
template <class W>
inline bool IsExact(const PathArgs& layer, int chunks) {
  const int row = chunks * kWarp * kVector<W>;
  return layer.x_pitch == row && layer.y_pitch % row == 0;
}

}  // namespace fff::engine::cuda
