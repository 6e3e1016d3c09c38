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
#include "server/engine/device/host_copies.h"
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

// How a small batch gets to the device and back.
struct Way {
  // Kernels read and write the host's page-locked memory over the link, instead
  // of copies before and after them.
  bool zero_copy_in = false;
  bool zero_copy_out = false;
  // Replayed as a whole, for the next power of two of rows, or queued one by
  // one.
  bool recorded = true;
};

// One batch at a time on its way through the device: a stream, page-locked
// memory for its rows and outputs, device memory for what lies between. Batches
// of up to kRecordedRowsMax rows replay a recording of copy, kernels and copy.
// Used by one thread at a time, which must use the device of `chain`.
class Lane {
 public:
  static constexpr int64_t kRecordedRowsMax = 64;

  // `chain` and `copies` outlive the lane.
  static absl::StatusOr<std::unique_ptr<Lane>> Make(const Chain* chain,
                                                    HostCopies* copies);

  // Once the chain is tuned. `ways`, of batches of up to 1, 2, 4, ... rows, as
  // far as kRecordedRowsMax; the default where it ends. Before, batches of any
  // size are queued one by one.
  absl::Status PrepareBatches(absl::Span<const Way> ways);
  // Seconds by the device's clock until a batch of `rows` rows is back in
  // page-locked memory, the least of a few.
  absl::StatusOr<double> TimeWay(int64_t rows, Way way);

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
  // Where the kernels find a batch's rows and leave what comes of them; the
  // routes, in a block of OutputLayout.
  struct Ends {
    const void* x;
    void* y;
    char* routes;
  };

  Lane(const Chain* chain, HostCopies* copies);
  absl::Status Allocate();
  absl::Status QueueAll(int64_t rows, bool margins, Way way);
  absl::StatusOr<std::unique_ptr<Recording>> Record(int64_t rows, bool margins,
                                                    Way way);
  absl::Status QueueChain(const Ends& ends, int64_t rows,
                          const OutputLayout& layout, bool margins);
  Scratch MakeScratch() const;
  // What layer `layer` gets of a batch.
  RowArgs ArgsOf(size_t layer, const Ends& ends, const OutputLayout& layout,
                 bool margins) const;
  // The way of a batch of `rows` rows.
  Way WayOf(int64_t rows) const;

  const Chain* chain_;
  HostCopies* copies_;
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
  std::vector<Way> ways_;  // of up to 1, 2, 4, ... rows
  // (rows, margins) -> what a batch of so many rows queues.
  std::map<std::pair<int64_t, bool>, std::unique_ptr<Recording>> recorded_;
  int64_t queued_rows_ = 0;
  bool queued_margins_ = false;
};

}  // namespace fff::engine
