#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/engine/device/device.h"
#include "server/engine/device/kernel_args.h"
#include "server/engine/device_engine.h"
#include "server/engine/kernel_traits.h"
#include "server/graph/row_ops.h"

// The kernels of a device: one list per family, each entry beside its kernel.
namespace fff::engine {

// Device memory that a lane lends to the kernel that runs.
struct Scratch {
  char* bytes = nullptr;
  int64_t size = 0;
  SortScratch sort;           // only when some kernel sorts
  void* workspace = nullptr;  // of matrix products
};
struct ScratchNeed {
  int64_t bytes = 0;
  int buckets = 0;  // of the sort, at most kBucketsMax; 0: does not sort
  int64_t workspace_bytes = 0;

  void Cover(const ScratchNeed& other);  // the larger of each
};

// What a kernel alone keeps of a layer: copies of its weights in an order of
// its own, descriptions. Immutable but for caches with a lock.
class KernelState {
 public:
  virtual ~KernelState() = default;
  virtual int64_t bytes() const { return 0; }  // of device memory
};

// A layer on a device, as kernels of its family see it.
struct LayerShape {
  WeightType type = WeightType::kFp32;  // of weights and rows
  DeviceTraits device;
  int64_t input_width = 0;
  int64_t output_width = 0;
  int x_pitch = 0;
  int y_pitch = 0;
  int trees = 0;      // 0: does not route
  int decisions = 0;  // per row and tree

  int64_t x_bytes() const { return x_pitch * BytesOf(type); }  // of a row
  int64_t y_bytes() const { return y_pitch * BytesOf(type); }
};
struct PathShape : LayerShape {
  PathArgs args;
};
struct LeafShape : LayerShape {
  LeafArgs args;
};
struct DenseShape : LayerShape {
  DenseProblem problem;
  bool tf32 = false;           // products of 10 bits, sums in fp32
  const void* w = nullptr;     // [y_pitch, x_pitch]
  const void* bias = nullptr;  // [y_pitch] of `type`, or null
};
enum class RowOp { kActivate, kLayerNorm, kBlend };
struct RowsShape : LayerShape {
  RowOp op = RowOp::kActivate;
  Activation activation = Activation::kIdentity;
  LayerNormArgs norm;
  float share = 1;  // kBlend: y = share * y + (1 - share) * x
};

// For which batch the variants of a kernel are wanted.
struct Ask {
  int64_t rows = 0;
  bool all = false;  // also those that cannot be the fastest
  const KernelState* state = nullptr;
};
struct LaunchArgs {
  int variant = 0;
  RowArgs rows;
  Scratch scratch;
  void* stream = nullptr;  // Stream::native()
  const KernelState* state = nullptr;
};

// One algorithm. Everything that an entry points at stands in the kernel's own
// file. A kernel that is not named in the list of its family does not exist;
// the order of a list is that of the guess which kernel is best.
template <class Shape, class Weights>
struct DeviceKernel {
  absl::string_view name;  // by algorithm: "path_walk", "leaf_grouped"
  KernelTraits traits;
  // Can compute this layer at all.
  bool (*supports)(const Shape& shape);
  // The ways in which it can compute a batch (parts, split, columns); {0} where
  // there is one. Empty where it cannot be the fastest.
  std::vector<int> (*variants)(const Shape& shape, const Ask& ask);
  ScratchNeed (*scratch)(const Shape& shape, int64_t rows_max);
  // Queues the work and returns at once.
  absl::Status (*launch)(const Shape& shape, const LaunchArgs& launch);
  // Null, or makes what the kernel keeps of a layer. Returns null where the
  // device or the weights do not allow the kernel. Then variants is asked once
  // without a state first: whether making one is worth while.
  absl::StatusOr<std::shared_ptr<const KernelState>> (*prepare)(
      const Shape& shape, const Weights& weights, Device& device) = nullptr;
};

using DevicePathKernel = DeviceKernel<PathShape, PathWeights>;
using DeviceLeafKernel = DeviceKernel<LeafShape, LeafWeights>;
using DeviceDenseKernel = DeviceKernel<DenseShape, DenseWeights>;
using DeviceRowsKernel = DeviceKernel<RowsShape, graph::LayerNormWeights>;

struct KernelTable {
  absl::Span<const DevicePathKernel> path;
  absl::Span<const DeviceLeafKernel> leaf;
  absl::Span<const DeviceDenseKernel> dense;
  absl::Span<const DeviceRowsKernel> rows;
};

// Entries of kernels that have one way, or need no scratch.
template <class Shape>
std::vector<int> OneVariant(const Shape&, const Ask&) {
  return {0};
}
// One way, where it may be the fastest.
inline std::vector<int> OneIf(bool worth_while) {
  return worth_while ? std::vector<int>{0} : std::vector<int>();
}
template <class Shape>
ScratchNeed NoScratch(const Shape&, int64_t) {
  return {};
}

// `count` rows from row `begin` on.
RowArgs PieceOf(const LayerShape& shape, const RowArgs& rows, int64_t begin,
                int64_t count);
// launch(piece) -> absl::Status for at most `together` rows at a time.
template <class LaunchPiece>
absl::Status InPieces(const LayerShape& shape, const RowArgs& rows,
                      int64_t together, const LaunchPiece& launch) {
  for (int64_t begin = 0; begin < rows.rows; begin += together) {
    const int64_t left = rows.rows - begin;
    absl::Status status =
        launch(PieceOf(shape, rows, begin, together < left ? together : left));
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace fff::engine
