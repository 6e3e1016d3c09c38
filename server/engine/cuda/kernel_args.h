#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "server/engine/problem.h"

// What the host hands to a kernel, and the functions that start kernels. Rows
// and weight rows have a pitch: their width rounded up to kPitch elements, the
// rest zero, so that every row starts at a multiple of 16 bytes in fp32 and
// bf16 alike and loads never need a tail.
namespace fff::engine::cuda {

inline constexpr int64_t kPitch = 8;
inline int64_t PitchOf(int64_t width) {
  return (width + kPitch - 1) / kPitch * kPitch;
}

// Of weights and of rows alike; sums, biases, z and margins are fp32.
enum class WeightType { kFp32, kBf16 };
inline int64_t BytesOf(WeightType type) {
  return type == WeightType::kFp32 ? 4 : 2;
}

// The rows of one call. Pointers are to device memory.
struct RowArgs {
  const void* x = nullptr;    // [rows, x_pitch]
  void* y = nullptr;          // [rows, y_pitch]
  int32_t* leaves = nullptr;  // [rows, trees]
  float* margins = nullptr;   // [rows, trees, decisions] or null
  int rows = 0;
};

// One path layer on the device.
struct PathArgs {
  const void* x_weights = nullptr;  // [trees * nodes, x_pitch]
  const float* bias = nullptr;      // [trees * nodes] or null
  const void* y_weights = nullptr;  // [trees * nodes, y_pitch]
  int x_pitch = 0;
  int y_pitch = 0;
  int output_width = 0;
  int trees = 0;
  int levels = 0;
  bool tie_left = false;
  Activation activation = Activation::kIdentity;
  int shared_bytes_max = 0;  // that a block of path_row may ask for
};

// One leaf layer on the device. w1 is transposed: a row a hidden neuron.
struct LeafArgs {
  const void* node_weights = nullptr;  // [nodes, x_pitch]
  const float* node_biases = nullptr;  // [nodes]
  const void* w1 = nullptr;            // [leaves * leaf_width, x_pitch]
  const float* b1 = nullptr;           // [leaves * leaf_width]
  const void* w2 = nullptr;            // [leaves * leaf_width, y_pitch]
  const float* b2 = nullptr;           // [leaves, y_pitch] or null
  int x_pitch = 0;
  int y_pitch = 0;
  int leaf_width = 0;
  int output_width = 0;
  int depth = 0;
  bool tie_left = false;
  Activation activation = Activation::kRelu;
};

// Scratch of the grouped kernels: rows sorted into the subtrees below the first
// levels, or into leaves.
inline constexpr int kSplitMax = 8;
inline constexpr int kBucketsMax = 1 << kSplitMax;
struct SortScratch {
  int32_t* order = nullptr;   // [ScratchNeed::buckets, rows_max]: their rows
  int32_t* counts = nullptr;  // [kBucketsMax], zero between calls
  int32_t* ticket = nullptr;  // [1], zero between calls
  float* top_z = nullptr;     // [rows_max, kSplitMax]
  // [TilesFor(rows_max, kBucketsMax)]: bucket, rows, first row in `order`
  int4* tiles = nullptr;
  int rows_max = 0;
};
// Rows of a bucket that one block multiplies; and how many such tiles there may
// be, as every bucket may leave its last one unfilled.
inline constexpr int kRowsOfTile = 64;
inline int64_t TilesFor(int64_t rows, int64_t buckets) {
  return (rows + kRowsOfTile - 1) / kRowsOfTile + buckets - 1;
}

// Every function queues work on `stream`, returns at once and leaves the
// checking of problem limits to its Supports. The result is that of the launch.

// A warp a row. `partials`: null, or [rows, parts, y_pitch] when the trees are
// divided among `parts` warps a row.
cudaError_t PathWalk(WeightType type, const PathArgs& layer,
                     const RowArgs& rows, int parts, float* partials,
                     cudaStream_t stream);
bool PathWalkSupports(WeightType type, int x_pitch);
// The fewest parts: sums that go through memory between trees must not be
// rounded to bf16 there.
int PathWalkPartsMin(WeightType type, int trees, int levels);

// A block a row and tree.
cudaError_t PathRow(WeightType type, const PathArgs& layer, const RowArgs& rows,
                    float* partials, cudaStream_t stream);
bool PathRowSupports(WeightType type, const PathArgs& layer);

// A block, or a cluster of blocks, a row and tree; any width.
cudaError_t PathWide(WeightType type, const PathArgs& layer,
                     const RowArgs& rows, int cluster, float* partials,
                     cudaStream_t stream);

// Rows sorted by the subtree below the first `split` levels (1 to kSplitMax,
// less than levels), then a warp a row, on `processors` multiprocessors.
cudaError_t PathGrouped(WeightType type, const PathArgs& layer,
                        const RowArgs& rows, int split, int processors,
                        const SortScratch& scratch, cudaStream_t stream);
bool PathGroupedSupports(WeightType type, int x_pitch, int trees, int levels);

// All nodes of all trees by tensor cores, of which each row then keeps its
// paths; for bf16. slack: tensor_packing.h's, on the device. Scratch as
// PathMaskedNeedFor says for these rows.
struct PathMaskedNeed {
  int parts = 1;  // that the sums are divided into
  int64_t hidden_bytes = 0;
  int64_t partials_bytes = 0;
  int64_t bytes() const { return hidden_bytes + partials_bytes; }
};
PathMaskedNeed PathMaskedNeedFor(const PathArgs& layer, int rows,
                                 int processors);
cudaError_t PathMasked(const PathArgs& layer, const float* slack,
                       const RowArgs& rows, const PathMaskedNeed& need,
                       void* scratch, cudaStream_t stream);
bool PathMaskedSupports(const PathArgs& layer);
// Once a device, before the first launch there. cudaErrorInvalidValue: its
// blocks have too little shared memory.
cudaError_t PreparePathMasked();

// A warp a row.
cudaError_t LeafWalk(WeightType type, const LeafArgs& layer,
                     const RowArgs& rows, cudaStream_t stream);
bool LeafWalkSupports(WeightType type, int x_pitch, int leaf_width);

// A block a row; any width.
cudaError_t LeafRow(WeightType type, const LeafArgs& layer, const RowArgs& rows,
                    cudaStream_t stream);
bool LeafRowSupports(int leaf_width);

// A block, or a cluster of blocks, a row.
cudaError_t LeafWide(WeightType type, const LeafArgs& layer,
                     const RowArgs& rows, int cluster, cudaStream_t stream);
bool LeafWideSupports(int leaf_width);

// The descent alone, at most kBucketsMax leaves: routes, the rows filed under
// their leaves, and the tiles that these make, TilesFor(rows, leaves).
cudaError_t LeafSplit(WeightType type, const LeafArgs& layer,
                      const RowArgs& rows, const SortScratch& scratch,
                      cudaStream_t stream);

// LeafSplit, then matrix products a leaf. hidden:
// LeafGroupedScratchBytes(leaf_width) a row.
cudaError_t LeafGrouped(WeightType type, const LeafArgs& layer,
                        const RowArgs& rows, float* hidden,
                        const SortScratch& scratch, cudaStream_t stream);
bool LeafGroupedSupports(int leaf_width, int y_pitch, int depth);
int64_t LeafGroupedScratchBytes(int leaf_width);

// The same by tensor cores, for bf16; `columns`: one of kLeafTensorColumns, the
// width of a block. hidden: LeafTensorScratchBytes(leaf_width) a row.
inline constexpr int kLeafTensorColumns[] = {128, 64};
cudaError_t LeafTensor(const LeafArgs& layer, const RowArgs& rows, int columns,
                       void* hidden, const SortScratch& scratch,
                       cudaStream_t stream);
bool LeafTensorSupports(int leaf_width, int y_pitch, int depth);
int64_t LeafTensorScratchBytes(int leaf_width);
// Once a device, before the first launch there. cudaErrorInvalidValue: its
// blocks have too little shared memory.
cudaError_t PrepareLeafTensor();

// y[r] = sum over parts of partials[r][part], first part first.
cudaError_t SumPartials(WeightType type, const float* partials, void* y,
                        int rows, int parts, int pitch, cudaStream_t stream);

// Rows of `width` numbers in rows of `pitch`; columns from `width` on become 0.
struct RowShape {
  int rows;
  int width;
  int pitch;
};
// y may be x.
cudaError_t ActivateRows(WeightType type, Activation activation, const void* x,
                         void* y, const RowShape& shape, cudaStream_t stream);
struct LayerNormArgs {
  const float* weight;  // [width]
  const float* bias;    // [width] or null
  float epsilon;
};
cudaError_t LayerNormRows(WeightType type, const void* x, void* y,
                          const LayerNormArgs& norm, const RowShape& shape,
                          cudaStream_t stream);
// y = share * y + (1 - share) * other, element by element.
cudaError_t Blend(WeightType type, void* y, const void* other, float share,
                  int64_t count, cudaStream_t stream);

}  // namespace fff::engine::cuda
