#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/base/trace_ids.h"
#include "server/metrics/batch_costs.h"
#include "server/metrics/exemplars.h"
#include "server/metrics/histogram.h"
#include "server/metrics/shard.h"

namespace fff::metrics {

// The inference methods, as the `method` label names them.
enum class Method : uint8_t {
  kPredict,
  kPredictDense,
  kModelInfer,
  kPredictStream,  // each request of a stream counts by itself
  kModelStreamInfer
};
inline constexpr size_t kMethods = 5;
absl::string_view Name(Method method);

inline constexpr size_t kStatusCodes = 17;  // gRPC's codes, 0 to 16
// Spelling of gRPC, "OK", "INVALID_ARGUMENT", ...; "UNKNOWN" out of range.
absl::string_view StatusCodeName(int code);

inline constexpr int kSubtreeLevels = 4;
inline constexpr size_t kSubtrees = size_t{1} << kSubtreeLevels;

// Labels of one served implementation of one model version.
struct ModelLabels {
  std::string model;           // without ":dense"
  std::string version;         // decimal
  std::string implementation;  // "fff" or "dense"
  std::string device;          // "cpu", "cuda:0"
};

// One FFF layer of a model: `depth` levels lie above the bottom level whose
// positions are recorded.
struct RoutingLayer {
  int index = 0;
  int depth = 0;

  bool operator==(const RoutingLayer& other) const {
    return index == other.index && depth == other.depth;
  }
};

// Visits of one FFF layer's subtrees, in at most kSubtrees buckets.
class LeafVisits {
 public:
  explicit LeafVisits(const RoutingLayer& layer)
      : layer_(layer),
        shift_(std::max(0, layer.depth - kSubtreeLevels)),
        buckets_(size_t{1} << (layer.depth - shift_)) {}

  // Adds every entry of `leaves` (bottom-level positions).
  void Record(absl::Span<const int32_t> leaves);
  const RoutingLayer& layer() const { return layer_; }
  size_t buckets() const { return buckets_; }
  uint64_t Value(size_t bucket) const { return counts_[bucket].Value(); }
  bool empty() const;

 private:
  RoutingLayer layer_;
  int shift_;
  size_t buckets_;
  std::array<Counter, kSubtrees> counts_;
};

// Those of one model's FFF layers, in their order.
using LayerVisits = std::deque<LeafVisits>;

// Everything recorded about one served implementation that does not depend on
// its layers, so that the same object goes on when other files are loaded. All
// members may be written from any thread without a lock.
struct ModelMetrics {
  explicit ModelMetrics(ModelLabels labels_in);

  void RecordRequest(Method method, int code, uint64_t duration_ns);
  // The trace of a request that was recorded, at the time `unix_ms`.
  void RecordTrace(Method method, uint64_t duration_ns,
                   const base::TraceIds& trace, int64_t unix_ms);

  const ModelLabels labels;
  std::array<std::array<Counter, kStatusCodes>, kMethods> requests;
  // Of answered requests of any code, per method.
  std::array<Histogram, kMethods> request_duration;
  std::array<Exemplars, kMethods> request_exemplars;
  Histogram queue_duration;
  Histogram compute_duration;
  Histogram batch_rows;
  BatchCosts batch_costs;
  Counter rows;
  Counter non_finite_rows;  // with NaN or infinity, that were taken
  Counter tokens;  // of the rows, where these are sequences of any length
  Gauge queue_rows;
  Gauge inflight;
  // Successful and failed requests' total time, for ModelStatistics.
  Counter success_ns;
  Counter fail_ns;
  // Of successful requests, for ModelStatistics: from arrival to the queue, in
  // it, in the batches that they were part of, and from their end to the
  // answer.
  Counter decode_ns;
  Counter queued_ns;
  Counter computed_ns;
  Counter encode_ns;
  std::atomic<int64_t> last_inference_ms{0};  // since the epoch; 0 = never
};

}  // namespace fff::metrics
