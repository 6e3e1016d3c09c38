#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/engine/cuda/device_memory.h"
#include "server/engine/cuda/kernel_args.h"
#include "server/engine/device_engine.h"

namespace fff::engine::cuda {

// Device memory that a lane lends to the layer that runs.
struct Scratch {
  char* bytes = nullptr;
  int64_t size = 0;
  SortScratch sort;                  // only when some layer sorts
  void* matmul_workspace = nullptr;  // kMatmulWorkspaceBytes, or null
};
struct ScratchNeed {
  int64_t bytes = 0;
  int buckets = 0;  // of the sort, at most kBucketsMax; 0: does not sort
  bool multiplies = false;
};
inline constexpr int64_t kMatmulWorkspaceBytes = int64_t{32} << 20;

// One way to compute a layer.
struct Candidate {
  std::string kernel;  // by algorithm: "path_walk"
  int variant = 0;     // parts, split or cluster size: what the algorithm has
  std::string ToString() const;
};

// One op of a chain with its weights on one device. Immutable; Launch may be
// called from many threads, each with its own stream and scratch.
class DeviceLayer {
 public:
  virtual ~DeviceLayer() = default;
  virtual int64_t output_width() const = 0;
  // Trees and margins a row and tree; 0 when the layer does not route.
  virtual int64_t trees() const { return 0; }
  virtual int decisions() const { return 0; }
  virtual int64_t weights_bytes() const = 0;
  virtual ScratchNeed Needs(int64_t rows_max) const = 0;
  // What can compute a batch of `rows` rows, best guess first. Never empty for
  // kWorthwhile, which leaves out what cannot be the fastest.
  enum class Which { kWorthwhile, kAll };
  virtual std::vector<Candidate> Candidates(int64_t rows,
                                            Which which) const = 0;
  // Queues the work on `stream`. Pitches as kernel_args.h has them.
  virtual absl::Status Launch(const Candidate& candidate, const RowArgs& rows,
                              const Scratch& scratch,
                              cudaStream_t stream) const = 0;
};

// What the layers of a chain share.
struct LayerBuild {
  Precision precision = Precision::kFp32;
  int processors = 0;            // of the device
  int shared_bytes_max = 0;      // dynamic, a block
  int64_t rows_max = 0;          // of one launch
  bool named = false;            // one kernel was asked for by name
  bool has_clusters = false;     // compute capability 9.0 and newer
  std::shared_ptr<void> matmul;  // of MakeMatmulHandle; dense layers need it
};
// A cuBLASLt handle for the current device.
absl::StatusOr<std::shared_ptr<void>> MakeMatmulHandle();

// Copy the weights to the current device.
absl::StatusOr<std::unique_ptr<DeviceLayer>> MakePathLayer(
    const PathWeights& weights, const LayerBuild& build);
absl::StatusOr<std::unique_ptr<DeviceLayer>> MakeLeafLayer(
    const LeafWeights& weights, const LayerBuild& build);
absl::StatusOr<std::unique_ptr<DeviceLayer>> MakeDenseLayer(
    const DenseWeights& weights, const LayerBuild& build);
absl::StatusOr<std::unique_ptr<DeviceLayer>> MakeMasterLeafLayer(
    const MasterLeafOp& op, const LayerBuild& build);
absl::StatusOr<std::unique_ptr<DeviceLayer>> MakeLayerNormLayer(
    const LayerNormOp& op, const LayerBuild& build);
absl::StatusOr<std::unique_ptr<DeviceLayer>> MakeActivationLayer(
    const ActivationOp& op, int64_t width, const LayerBuild& build);

WeightType TypeFor(Precision precision);

}  // namespace fff::engine::cuda
