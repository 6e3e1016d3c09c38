#pragma once

#include "server/engine/cuda/row_math.cuh"

// What the kernels that sort rows by subtree share. SortScratch in
// kernel_args.h.
namespace fff::engine::cuda {

// Files `row` under the subtree it reached.
__device__ inline void FileRow(const SortScratch& scratch, int bucket,
                               int row) {
  const int place = atomicAdd(scratch.counts + bucket, 1);
  scratch.order[int64_t{bucket} * scratch.rows_max + place] = row;
}

// Files every row of the block under its subtree; one addition a subtree and
// block, so that rows that all go one way do not queue. below: of thread i's
// row, negative where there is none.
template <int kThreads>
__device__ inline void FileRows(const SortScratch& scratch, int buckets,
                                int below, int row) {
  __shared__ int counts[kBucketsMax];
  static_assert(kBucketsMax <= kThreads);
  if (threadIdx.x < buckets) counts[threadIdx.x] = 0;
  __syncthreads();
  const int place = below < 0 ? 0 : atomicAdd(counts + below, 1);
  __syncthreads();
  if (threadIdx.x < buckets && counts[threadIdx.x] != 0) {
    counts[threadIdx.x] =
        atomicAdd(scratch.counts + threadIdx.x, counts[threadIdx.x]);
  }
  __syncthreads();
  if (below >= 0) {
    scratch.order[int64_t{below} * scratch.rows_max + counts[below] + place] =
        row;
  }
}

// ends[b] = portions of `portion` rows, the last perhaps smaller, in buckets
// 0 .. b. By the whole block; counts of
// no bucket are zero.
__device__ inline void PrefixSums(const int32_t* counts, int portion,
                                  int* ends) {
  constexpr int kEach = kBucketsMax / kWarp;
  if (threadIdx.x < kWarp) {
    const int first = static_cast<int>(threadIdx.x) * kEach;
    int sums[kEach];
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      sums[i] = (counts[first + i] + portion - 1) / portion;
    }
#pragma unroll
    for (int i = 1; i < kEach; ++i) sums[i] += sums[i - 1];
    int before = sums[kEach - 1];
#pragma unroll
    for (int distance = 1; distance < kWarp; distance *= 2) {
      const int add = __shfl_up_sync(kAllLanes, before, distance);
      if (threadIdx.x >= distance) before += add;
    }
    before -= sums[kEach - 1];
#pragma unroll
    for (int i = 0; i < kEach; ++i) ends[first + i] = before + sums[i];
  }
  __syncthreads();
}

// The first bucket whose end lies behind `place`.
__device__ inline int BucketOf(const int* ends, int buckets, int place) {
  int low = 0;
  int high = buckets - 1;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (ends[middle] > place) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

// The last block to come here empties the buckets for the next call.
__device__ inline void ResetCounts(const SortScratch& scratch, int buckets) {
  __shared__ bool last;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    last = atomicAdd(scratch.ticket, 1) ==
           static_cast<int>(gridDim.x * gridDim.y) - 1;
    if (last) *scratch.ticket = 0;
  }
  __syncthreads();
  if (last && threadIdx.x < buckets) scratch.counts[threadIdx.x] = 0;
}

}  // namespace fff::engine::cuda
