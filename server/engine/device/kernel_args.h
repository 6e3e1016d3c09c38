#pragma once

#include <cstdint>

#include "server/engine/problem.h"

// What the host hands to a kernel. Rows and weight rows have a pitch: their
// width rounded up to kPitch elements, the rest zero. So every row starts at a
// multiple of 16 bytes, in fp32 and bf16 alike, and loads never need a tail.
namespace fff::engine {

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
struct alignas(16) SortTile {
  int32_t bucket;
  int32_t rows;
  int32_t first;  // in SortScratch::order, from the bucket's begin on
  int32_t unused;
};
struct SortScratch {
  int32_t* order = nullptr;   // [ScratchNeed::buckets, rows_max]: their rows
  int32_t* counts = nullptr;  // [kBucketsMax], zero between calls
  int32_t* ticket = nullptr;  // [1], zero between calls
  float* top_z = nullptr;     // [rows_max, kSplitMax]
  SortTile* tiles = nullptr;  // [TilesFor(rows_max, kBucketsMax)]
  int rows_max = 0;
};
// Rows of a bucket that one block multiplies; and how many such tiles there may
// be, as every bucket may leave its last one unfilled.
inline constexpr int kRowsOfTile = 64;
inline int64_t TilesFor(int64_t rows, int64_t buckets) {
  return (rows + kRowsOfTile - 1) / kRowsOfTile + buckets - 1;
}

// Parameters of a layer norm. Pointers are to device memory.
struct LayerNormArgs {
  const float* weight = nullptr;  // [width]
  const float* bias = nullptr;    // [width] or null
  float epsilon = 0;
  bool centred = true;  // else 0 stands for the mean
};

}  // namespace fff::engine
