#include "server/metrics/model_metrics.h"

#include <algorithm>
#include <utility>

namespace fff::metrics {
namespace {

constexpr std::array<absl::string_view, kStatusCodes> kCodeNames = {
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED"};

constexpr size_t kUnknownCode = 2;

size_t CodeIndex(int code) {
  const auto index = static_cast<size_t>(code);
  return code >= 0 && index < kStatusCodes ? index : kUnknownCode;
}

}  // namespace

absl::string_view Name(Method method) {
  switch (method) {
    case Method::kPredict:
      return "Predict";
    case Method::kPredictDense:
      return "PredictDense";
    case Method::kModelInfer:
      return "ModelInfer";
    case Method::kPredictStream:
      return "PredictStream";
    case Method::kModelStreamInfer:
      return "ModelStreamInfer";
  }
  return "?";
}

absl::string_view StatusCodeName(int code) {
  return kCodeNames[CodeIndex(code)];
}

bool LeafVisits::empty() const {
  return std::all_of(counts_.begin(), counts_.end(),
                     [](const Counter& count) { return count.Value() == 0; });
}

void LeafVisits::Record(absl::Span<const int32_t> leaves) {
  // Counted locally first: a batch costs one atomic add per bucket, not one per
  // row.
  std::array<uint32_t, kSubtrees> counts{};
  for (const int32_t leaf : leaves) {
    ++counts[(static_cast<uint32_t>(leaf) >> shift_) & (kSubtrees - 1)];
  }
  for (size_t b = 0; b < buckets_; ++b) {
    if (counts[b] != 0) counts_[b].Add(counts[b]);
  }
}

ModelMetrics::ModelMetrics(ModelLabels labels_in)
    : labels(std::move(labels_in)),
      request_duration{
          Histogram(DurationBoundsNs()), Histogram(DurationBoundsNs()),
          Histogram(DurationBoundsNs()), Histogram(DurationBoundsNs()),
          Histogram(DurationBoundsNs())},
      queue_duration(DurationBoundsNs()),
      compute_duration(DurationBoundsNs()),
      batch_rows(RowBounds()) {}

void ModelMetrics::RecordRequest(Method method, int code,
                                 uint64_t duration_ns) {
  const auto m = static_cast<size_t>(method);
  requests[m][CodeIndex(code)].Add();
  request_duration[m].Observe(duration_ns);
  (code == 0 ? success_ns : fail_ns).Add(duration_ns);
}

void ModelMetrics::RecordTrace(Method method, uint64_t duration_ns,
                               const base::TraceIds& trace, int64_t unix_ms) {
  const auto m = static_cast<size_t>(method);
  request_exemplars[m].Record(request_duration[m].BucketOf(duration_ns),
                              {trace, duration_ns, unix_ms});
}

}  // namespace fff::metrics
