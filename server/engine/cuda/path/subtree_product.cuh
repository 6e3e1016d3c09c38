#pragma once

#include "server/engine/cuda/fragments.cuh"
#include "server/engine/cuda/path/tensor_walk.cuh"

namespace fff::engine::cuda {

// 16 rows times the nodes of a subtree, by one warp.
class SubtreeProduct {
 public:
  static constexpr int kTiles = kTensorTiles;
  static constexpr int kStages = 6;  // parts of the rows in flight
  using Parts = RowPart<kTileRows>[kStages];
  float sum[kTiles][4] = {};

  // Asks for the first weights at once.
  __device__ SubtreeProduct(const PathArgs& layer, const TensorArgs& tensor,
                            int subtree, Parts& parts, int lane)
      : parts_(parts),
        vectors_(layer.x_pitch / kVector<Bf16>),
        count_(tensor.steps / kPartSteps),
        lane_(lane),
        weights_(static_cast<const uint4*>(tensor.x_tiles) + lane +
                 int64_t{tensor.steps} * kWarp *
                     (tensor.top_tiles + subtree * kTiles)) {
#pragma unroll
    for (int r = 0; r < kRing; ++r) LoadWeights(r, ring_[r]);
  }

  // Lane l < 16 has the l-th row in `row`.
  __device__ void Multiply(const RowArgs& rows, const PathArgs& layer,
                           int row) {
#pragma unroll
    for (int c = 0; c < kCopies; ++c) {
      const int mine = __shfl_sync(kAllLanes, row, Row(c));
      x_[c] = reinterpret_cast<const uint4*>(
          RowOf<Bf16>(rows.x, mine, layer.x_pitch));
    }
#pragma unroll
    for (int part = 0; part < kStages - 1; ++part) CopyRows(part);
    for (int base = 0; base < count_; base += kRing) {
#pragma unroll
      for (int r = 0; r < kRing; ++r) {
        AwaitCopies<kStages - 2>();
        __syncwarp();  // the part is there, and its predecessor done with
        CopyRows(base + r + kStages - 1);
        Add(parts_[(base + r) % kStages], ring_[r]);
        LoadWeights(base + r + kRing, ring_[r]);
      }
    }
    AwaitCopies<0>();
    __syncwarp();
  }

 private:
  static constexpr int kRing = 2;  // parts of the weights in flight
  static_assert(kTensorSteps % (kRing * kPartSteps) == 0);
  static constexpr int kCopies = kTileRows * kPartVectors / kWarp;
  struct Weights {
    uint4 w[kPartSteps][kTiles];
  };

  __device__ int Row(int copy) const {
    return (lane_ + copy * kWarp) / kPartVectors;
  }
  // Commits a group also where there is no such part.
  __device__ void CopyRows(int part) {
    if (part < count_) {
      const int at = lane_ % kPartVectors;
      const int vector = part * kPartVectors + at;
      const bool inside = vector < vectors_;
#pragma unroll
      for (int c = 0; c < kCopies; ++c) {
        CopyAsync(parts_[part % kStages].At(Row(c), at),
                  x_[c] + (inside ? vector : 0), inside, policy_);
      }
    }
    CommitCopies();
  }
  // The last once more past the last part.
  __device__ void LoadWeights(int part, Weights& to) const {
    const uint4* const w =
        weights_ + min(part, count_ - 1) * (kPartSteps * kTiles * kWarp);
#pragma unroll
    for (int i = 0; i < kPartSteps * kTiles; ++i) {
      to.w[i / kTiles][i % kTiles] = LoadRaw(w + i * kWarp);
    }
  }
  __device__ void Add(RowPart<kTileRows>& part, const Weights& weights) {
#pragma unroll
    for (int step = 0; step < kPartSteps; ++step) {
      const RowFragment first = part.Load(0, 2 * step, lane_);
      const RowFragment second = part.Load(0, 2 * step + 1, lane_);
#pragma unroll
      for (int j = 0; j < kTiles; ++j) {
        const uint4& w = weights.w[step][j];
        MultiplyAdd16(first, w.x, w.y, sum[j]);
        MultiplyAdd16(second, w.z, w.w, sum[j]);
      }
    }
  }

  Parts& parts_;
  const uint4* x_[kCopies];
  int vectors_;
  int count_;
  int lane_;
  const uint4* weights_;
  Weights ring_[kRing];
  uint64_t policy_ = DropSoonPolicy();  // x is read for the last time
};

}  // namespace fff::engine::cuda
