#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace fff::serving {

// How long a batch takes, learned from the batches that ran: one figure for
// each power of two of its tokens (engine::Extent), which are called rows here.
// Thread-safe without a lock; an update that is lost to another thread's does
// no harm.
class ComputeEstimate {
 public:
  // 0 while nothing is known. Sizes that never ran are taken from the nearest
  // size below that did, row for row, else from the nearest above.
  int64_t Nanoseconds(int64_t rows) const;

  // A batch of `rows` took `ns`. A quick one counts for more than a slow one,
  // and a very slow one no more than a slow one. A batch can be slow because
  // the machine was busy, but not quick by chance.
  void Add(int64_t rows, int64_t ns);

  // Somebody was turned away because of the estimate. It gets a little smaller,
  // so that one figure that is far too large cannot shut the door for ever.
  void Doubt();

 private:
  static constexpr size_t kSizes = 24;
  static size_t SizeOf(int64_t rows);

  // Picoseconds per row; 0 = unknown.
  std::array<std::atomic<int64_t>, kSizes> ps_per_row_{};
};

}  // namespace fff::serving
