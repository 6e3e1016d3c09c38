#pragma once

#include "server/engine/cuda/fragments.cuh"
#include "server/engine/cuda/path/path_tensor.h"

// What path_tensor and path_masked share: the walk down products that are there
// already.
namespace fff::engine::cuda {

inline constexpr int kLengthAt = kSplitMax - 1;  // where top_z keeps |x|

// A node of the subtree `subtree` whose root is on level `root`, by its place
// in the heap of the subtree.
__device__ inline int NodeInTree(int root, int subtree, int local) {
  const int level = 31 - __clz(local + 1);
  return ((1 << (root + level)) - 1) + (subtree << level) + local + 1 -
         (1 << level);
}

// |x| rounded up; infinite where its square is no good float.
__device__ inline float LengthOf(float squared) {
  return squared > 1e-30f && squared < 1e30f ? 1.001f * sqrtf(squared)
                                             : INFINITY;
}

// What the lanes of a warp walk through, each its own row.
struct Walker {
  bool walks;                    // false: the lane only helps
  const Bf16* x = nullptr;       // the row
  float length = 0;              // of it
  const float* z = nullptr;      // of the subtree's nodes, without exact ties
  const float* slack = nullptr;  // of those nodes
  int tree = 0;                  // where the nodes of the tree begin
};

// Takes every lane's row through `levels` levels of a subtree. store(level,
// place, z) gets each decision's z and the place of its node in the subtree.
// Returns the place below.
template <class Store>
__device__ inline int Walk(const PathArgs& layer, const Walker& mine, int root,
                           int subtree, int levels, int lane,
                           const Store& store) {
  int local = 0;
  for (int level = 0; level < levels; ++level) {
    const int node = mine.tree + NodeInTree(root, subtree, local);
    float z = mine.walks ? mine.z[local] : 0.0f;
    const bool near =
        mine.walks && !(fabsf(z) > mine.length * mine.slack[local]);
    for (unsigned todo = __ballot_sync(kAllLanes, near); todo != 0;
         todo &= todo - 1) {
      const int source = __ffs(static_cast<int>(todo)) - 1;
      const int other = __shfl_sync(kAllLanes, node, source);
      const auto* const x = reinterpret_cast<const Bf16*>(__shfl_sync(
          kAllLanes, reinterpret_cast<unsigned long long>(mine.x), source));
      const float exact =
          WarpDot(RowOf<Bf16>(layer.x_weights, other, layer.x_pitch), x,
                  layer.x_pitch, lane) +
          (layer.bias == nullptr ? 0.0f : __ldg(layer.bias + other));
      if (lane == source) z = exact;
    }
    if (mine.walks) store(level, local, z);
    local = 2 * local + 1 + (GoesRight(layer.tie_left, z) ? 1 : 0);
  }
  return local;
}

// Bias of a node, zero where there is none.
__device__ inline float BiasOf(const PathArgs& layer, int node) {
  const bool has = layer.bias != nullptr && node < (1 << layer.levels) - 1;
  return has ? __ldg(layer.bias + node) : 0.0f;
}

// One tile of sums into the z of its rows, `pitch` apart, from the node `local`
// of a subtree on.
__device__ inline void StoreSums(const float (&sum)[4], const PathArgs& layer,
                                 int root, int subtree, int local, float* z,
                                 int pitch, int lane) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int at = local + 2 * (lane % 4) + i;
    const float bias = BiasOf(layer, NodeInTree(root, subtree, at));
    z[(lane / 4) * pitch + at] = sum[i] + bias;
    z[(lane / 4 + 8) * pitch + at] = sum[2 + i] + bias;
  }
}

}  // namespace fff::engine::cuda
