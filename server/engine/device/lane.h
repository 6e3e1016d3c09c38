#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/engine/device/chain.h"
#include "server/engine/device_engine.h"

namespace fff::engine {

// What leaves the device after a batch of `rows` rows, in one block: outputs,
// then the leaves of every layer that routes, then, if wanted, its margins. In
// bytes from the start of the block.
class OutputLayout {
 public:
  OutputLayout(const Chain& chain, int64_t rows, bool margins);
  int64_t bytes() const { return bytes_; }
  int64_t leaves(size_t layer) const { return leaves_[layer]; }
  int64_t margins(size_t layer) const { return margins_[layer]; }

 private:
  int64_t bytes_ = 0;
  std::vector<int64_t> leaves_;   // per layer; 0 where it does not route
  std::vector<int64_t> margins_;  // per layer
};

// One batch at a time on its way through the device: a stream, page-locked
// memory for its rows and outputs, device memory for what lies between. Batches
// of up to kRecordedRowsMax rows replay a recording of copy, kernels and copy.
// Used by one thread at a time, which must use the device of `chain`.
class Lane {
 public:
  static constexpr int64_t kRecordedRowsMax = 64;

  // `chain` outlives the lane.
  static absl::StatusOr<std::unique_ptr<Lane>> Make(const Chain* chain);

  // Once the chain is tuned. Lanes without recordings queue every operation by
  // itself.
  absl::Status RecordBatches();

  // Copies the rows in (at most chain.rows_max()) and queues all work.
  absl::Status Begin(tensor::ConstRows x, bool margins);
  // Waits for what Begin queued and copies the results out; routes to the rows
  // of the sinks from `first_row` on. y.rows as in Begin; chain.sinks() sinks,
  // or none.
  absl::Status Finish(tensor::MutableRows y, absl::Span<const RouteSink> routes,
                      int64_t first_row);

  // Queues the kernels alone, for measurements: from and to device memory in
  // rows of the chain's pitches.
  absl::Status QueueKernels(const void* x, void* y, int64_t rows);
  // The device's seconds of `launches` launches of one candidate of one layer
  // over random rows in the lane's own memory.
  absl::StatusOr<double> TimeLayer(size_t layer, const Candidate& candidate,
                                   int64_t rows, int launches);
  // Fills the lane's device memory for rows with numbers around zero.
  absl::Status FillWithNoise();
  Stream& stream() const { return *stream_; }
  int64_t device_bytes() const;

 private:
  explicit Lane(const Chain* chain);
  absl::Status Allocate();
  absl::Status QueueAll(int64_t rows, bool margins);
  absl::Status QueueChain(const void* x, void* y, int64_t rows,
                          const OutputLayout& layout, bool margins);
  Scratch MakeScratch() const;
  // What layer `layer` gets of a batch that comes from `x` and goes to `y`.
  RowArgs ArgsOf(size_t layer, const void* x, void* y,
                 const OutputLayout& layout, bool margins) const;
  void CopyRowsIn(tensor::ConstRows x);
  void CopyRowsOut(tensor::MutableRows y) const;
  int64_t QueuedRows(int64_t rows) const;

  const Chain* chain_;
  int64_t x_pitch_;
  int64_t y_pitch_;
  int64_t element_;  // bytes
  Buffer host_in_;
  Buffer host_out_;
  Buffer in_;
  Buffer out_;
  std::vector<Buffer> slots_;
  Buffer scratch_;
  Buffer sort_;
  Buffer workspace_;
  std::unique_ptr<Stream> stream_;
  // (rows, margins) -> what a batch of so many rows queues.
  std::map<std::pair<int64_t, bool>, std::unique_ptr<Recording>> recorded_;
  int64_t queued_rows_ = 0;
  bool queued_margins_ = false;
};

}  // namespace fff::engine
