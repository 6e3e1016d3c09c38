#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/engine/device/kernel_table.h"
#include "server/engine/device_engine.h"
#include "server/engine/kernel_tuner.h"

namespace fff::engine {

// What the layers of a chain share.
struct LayerBuild {
  WeightType type = WeightType::kFp32;
  bool tf32 = false;        // DeviceOptions::dense_tf32
  int64_t rows_max = 0;     // of one launch
  std::string kernel_name;  // asked for by name, or empty
};

// One op of a graph on one device. Immutable once uploaded; Run may then be
// called from many threads, each with its own stream and scratch.
class DeviceLayer {
 public:
  virtual ~DeviceLayer() = default;
  // Copies the weights to the device and prepares its kernels. Once, before
  // everything below. UNIMPLEMENTED when none computes this layer.
  virtual absl::Status Upload(const LayerBuild& build) = 0;

  virtual int64_t output_width() const = 0;
  // Trees, and margins per row and tree; 0 when the layer does not route.
  virtual int trees() const { return 0; }
  virtual int decisions() const { return 0; }
  virtual int64_t weights_bytes() const = 0;
  virtual ScratchNeed Needs(int64_t rows_max) const = 0;
  // What can compute a batch of `rows` rows, best guess first; all of it, or
  // what may be the fastest (never empty then).
  virtual std::vector<Candidate> Candidates(int64_t rows, bool all) const = 0;
  virtual absl::string_view KernelName(size_t kernel) const = 0;
  virtual const KernelTraits& Traits(size_t kernel) const = 0;
  // Queues the work on `stream`.
  virtual absl::Status Run(const Candidate& candidate, const RowArgs& rows,
                           const Scratch& scratch, Stream& stream) const = 0;

  // "path_walk", "path_grouped/7".
  std::string Name(const Candidate& candidate) const;
};

}  // namespace fff::engine
