#pragma once

#include "server/engine/cuda/row_math.cuh"

// What the kernels that sort rows by subtree share. SortScratch in
// device/kernel_args.h.
namespace fff::engine::cuda {

// Files `row` under the subtree it reached.
__device__ inline void FileRow(const SortScratch& scratch, int bucket,
                               int row) {
  const int place = atomicAdd(scratch.counts + bucket, 1);
  scratch.order[int64_t{bucket} * scratch.rows_max + place] = row;
}

// Files every row of the block under its subtree, with one addition per subtree
// and block. So rows that all go one way do not queue. below: of thread i's
// row, negative where there is none. (Counts in cache lines of their own were
// no faster.)
template <int kThreads>
__device__ inline void FileRows(const SortScratch& scratch, int buckets,
                                int below, int row) {
  __shared__ int counts[kBucketsMax];
  static_assert(kBucketsMax <= kThreads);
  if (threadIdx.x < buckets) counts[threadIdx.x] = 0;
  __syncthreads();
  const int place = below < 0 ? 0 : atomicAdd(counts + below, 1);
  __syncthreads();
  const auto mine = static_cast<int>(threadIdx.x);
  if (mine < buckets && counts[mine] != 0) {
    counts[mine] = atomicAdd(scratch.counts + mine, counts[mine]);
  }
  __syncthreads();
  if (below >= 0) {
    scratch.order[int64_t{below} * scratch.rows_max + counts[below] + place] =
        row;
  }
}

// ends[b] = portions of `portion` rows, the last perhaps smaller, in buckets
// 0 .. b. By the whole block; counts of no bucket are zero.
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

// Whether this block is the last one of the grid to come here; what the others
// wrote before is there for it. By the whole block.
__device__ inline bool ComesLast(const SortScratch& scratch) {
  __shared__ bool last;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    last = atomicAdd(scratch.ticket, 1) ==
           static_cast<int>(gridDim.x * gridDim.y) - 1;
    if (last) *scratch.ticket = 0;
    __threadfence();
  }
  __syncthreads();
  return last;
}

// Empties the buckets for the next call. By the whole block.
__device__ inline void EmptyBuckets(const SortScratch& scratch, int buckets) {
  for (int i = static_cast<int>(threadIdx.x); i < buckets;
       i += static_cast<int>(blockDim.x)) {
    scratch.counts[i] = 0;
  }
}

// Up to kRowsOfTile rows of one bucket.
struct BucketRows {
  int bucket;
  int count;  // 0: there are none
  const int32_t* rows;
  // The last one once more behind the last.
  __device__ int Row(int place) const { return rows[min(place, count - 1)]; }
};
__device__ inline BucketRows RowsOfTile(const SortScratch& scratch, int tile) {
  const int4 t = __ldg(reinterpret_cast<const int4*>(scratch.tiles) + tile);
  return {t.x, t.y, scratch.order + int64_t{t.x} * scratch.rows_max + t.z};
}
// Fills the first `tiles` of scratch.tiles. By the whole block.
__device__ inline void FillTiles(const SortScratch& scratch, int buckets,
                                 int tiles) {
  __shared__ int ends[kBucketsMax];
  PrefixSums(scratch.counts, kRowsOfTile, ends);
  for (int i = static_cast<int>(threadIdx.x); i < tiles;
       i += static_cast<int>(blockDim.x)) {
    SortTile tile = {0, 0, 0, 0};
    if (i < ends[buckets - 1]) {
      const int bucket = BucketOf(ends, buckets, i);
      tile.bucket = bucket;
      tile.first = (i - (bucket == 0 ? 0 : ends[bucket - 1])) * kRowsOfTile;
      tile.rows = min(kRowsOfTile, scratch.counts[bucket] - tile.first);
    }
    scratch.tiles[i] = tile;
  }
}

// The last block to come here empties the buckets for the next call.
__device__ inline void ResetCounts(const SortScratch& scratch, int buckets) {
  if (ComesLast(scratch)) EmptyBuckets(scratch, buckets);
}

}  // namespace fff::engine::cuda
