#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

// Chooses the kernel of each batch size, by measurement where there is time for
// it, else by prediction. The same for every device: the layer says what may
// compute it and how long that took, by whatever clock its device has.
namespace fff::engine {

// What the first batch size of a layer may take, however little time there is:
// choices of small layers are measured even where many share the time.
inline constexpr double kFirstBatchSeconds = 1e-3;

// Batch sizes for which kernels are chosen: 1, 2, 4, ... up to this.
inline constexpr int64_t kTunedRowsMax = 16384;

// One way to compute a layer.
struct Candidate {
  size_t kernel = 0;  // place in the layer's list of kernels
  int variant = 0;    // parts, split or columns: what the kernel offers

  friend bool operator==(const Candidate& a, const Candidate& b) {
    return a.kernel == b.kernel && a.variant == b.variant;
  }
};

// Which candidate computes a layer from `rows_min` rows on.
struct Choice {
  int64_t rows_min = 1;
  Candidate candidate;
  std::string reason;  // why, one clause
};
// Ascending rows_min, the first at 1, never empty; neighbours differ.
using Choices = std::vector<Choice>;
const Choice& ChoiceFor(const Choices& choices, int64_t rows);

// A layer whose kernels are to be chosen.
class TunedLayer {
 public:
  virtual ~TunedLayer() = default;
  // "cpu", "cuda": for the reasons.
  virtual absl::string_view device() const = 0;
  // What may compute a batch of `rows` rows, best guess first. Never empty.
  virtual std::vector<Candidate> Candidates(int64_t rows) const = 0;
  virtual std::string Name(const Candidate& candidate) const = 0;
  // Predicted seconds of a batch, or nothing where nobody can tell. For all
  // candidates of a layer or for none.
  virtual std::optional<double> Cost(const Candidate& candidate,
                                     int64_t rows) const = 0;
  // One sample: seconds of one batch of `rows` rows. UNIMPLEMENTED leaves this
  // candidate out at this batch size; any other error ends the tuning.
  virtual absl::StatusOr<double> Sample(const Candidate& candidate,
                                        int64_t rows) = 0;
};

struct TunerOptions {
  // What measuring may take, all layers together; 0: nothing is measured.
  double budget_s = 0;
  int64_t rows_max = kTunedRowsMax;           // of the choices
  int64_t measured_rows_max = kTunedRowsMax;  // above it nothing is measured
  int turns = 1;  // samples of each candidate, of which the least counts
  // Seconds since whenever. Empty: the steady clock.
  std::function<double()> now_s;
};

// The choices of every layer, in their order. Smallest batches come first, all
// layers of one batch size before the next. A layer is measured as long as
// twice its last batch size fits the rest of the budget. The very first batch
// size is measured unless predicted costs say that it takes longer than both
// budget and kFirstBatchSeconds: one sample of a layer of hundreds of MB takes
// tens of milliseconds. Candidates are
// sampled by turns. What is not measured keeps the least predicted cost, or,
// where there is none, the choice of the batch size below. Errors: those of
// Sample; INTERNAL when every candidate was left out.
absl::StatusOr<std::vector<Choices>> ChooseKernels(
    absl::Span<TunedLayer* const> layers, const TunerOptions& options);

// Index of the fastest, but `predicted` as long as it is at most 5 % slower:
// what differs less than measurements do is no reason to change. Pure; seconds
// is not empty and predicted is in range.
size_t FastestKernel(absl::Span<const double> seconds, size_t predicted);

}  // namespace fff::engine
