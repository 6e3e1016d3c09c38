#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "server/tensor/float_array.h"

namespace fff::graph {

// A matrix in the layout of some kernels. Immutable.
class PackedRows {
 public:
  virtual ~PackedRows() = default;
  // The matrix as checkpoints hold it, bit by bit. Allocates.
  virtual tensor::FloatArray Plain() const = 0;
  virtual int64_t bytes() const = 0;
};

// Finds the packed copies of one matrix: kernels that read the same layout
// share one copy, also those of a model and of its dense twin. Does not keep
// them: a copy lives as long as a kernel holds it. Thread-safe.
//
// Without this, the 755 MB of UltraFastBERT-1x11-long took 251 MB more for its
// twin's attention and decoder, and each matrix of the twin was held in two to
// three layouts.
class PackedCopies {
 public:
  using Copy = std::shared_ptr<const PackedRows>;

  PackedCopies() : known_(std::make_shared<Known>()) {}
  // A copy of weights may become other weights: it starts with none.
  PackedCopies(const PackedCopies&) : PackedCopies() {}
  PackedCopies& operator=(const PackedCopies& other) {
    if (this != &other) known_ = std::make_shared<Known>();
    return *this;
  }
  // Of the same matrix: finds what `other` finds, from now on.
  void ShareWith(const PackedCopies& other) { known_ = other.known_; }

  // The copy of that layout; `make` makes it where there is none.
  Copy FindOrMake(absl::string_view layout,
                  absl::FunctionRef<Copy()> make) const;
  // One of any layout, or null.
  Copy Any() const;

 private:
  struct Known {
    absl::Mutex mutex;
    std::map<std::string, std::weak_ptr<const PackedRows>, std::less<>>
        by_layout ABSL_GUARDED_BY(mutex);
  };
  std::shared_ptr<Known> known_;
};

}  // namespace fff::graph
