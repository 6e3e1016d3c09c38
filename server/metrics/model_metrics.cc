#include "server/metrics/model_metrics.h"

#include <algorithm>

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

void LeafVisits::Record(absl::Span<const int32_t> leaves) {
  // Counted locally first: a batch costs one atomic add a bucket, not one a
  // row.
  std::array<uint32_t, kSubtrees> counts{};
  for (const int32_t leaf : leaves) {
    ++counts[(static_cast<uint32_t>(leaf) >> shift_) & (kSubtrees - 1)];
  }
  for (size_t b = 0; b < buckets_; ++b) {
    if (counts[b] != 0) counts_[b].Add(counts[b]);
  }
}

ModelMetrics::ModelMetrics(ModelLabels labels_in,
                           absl::Span<const int> fff_layers,
                           absl::Span<const int> fff_depths)
    : labels(std::move(labels_in)),
      request_duration{
          Histogram(DurationBoundsNs()), Histogram(DurationBoundsNs()),
          Histogram(DurationBoundsNs()), Histogram(DurationBoundsNs()),
          Histogram(DurationBoundsNs())},
      queue_duration(DurationBoundsNs()),
      compute_duration(DurationBoundsNs()),
      batch_rows(RowBounds()),
      layer_index(fff_layers.begin(), fff_layers.end()) {
  for (const int depth : fff_depths) {
    leaf_visits.push_back(std::make_unique<LeafVisits>(depth));
  }
}

bool ModelMetrics::HasLayers(absl::Span<const int> fff_layers,
                             absl::Span<const int> fff_depths) const {
  const auto same_depth = [](const std::unique_ptr<LeafVisits>& visits,
                             int depth) { return visits->depth() == depth; };
  return layer_index ==
             std::vector<int>(fff_layers.begin(), fff_layers.end()) &&
         std::equal(leaf_visits.begin(), leaf_visits.end(), fff_depths.begin(),
                    fff_depths.end(), same_depth);
}

void ModelMetrics::CarryOn(const ModelMetrics& before) {
  for (size_t m = 0; m < kMethods; ++m) {
    for (size_t code = 0; code < kStatusCodes; ++code) {
      requests[m][code].Add(before.requests[m][code].Value());
    }
    request_duration[m].Add(before.request_duration[m].Snapshot());
  }
  queue_duration.Add(before.queue_duration.Snapshot());
  compute_duration.Add(before.compute_duration.Snapshot());
  batch_rows.Add(before.batch_rows.Snapshot());
  rows.Add(before.rows.Value());
  success_ns.Add(before.success_ns.Value());
  fail_ns.Add(before.fail_ns.Value());
  last_inference_ms.store(
      before.last_inference_ms.load(std::memory_order_relaxed),
      std::memory_order_relaxed);
}

void ModelMetrics::RecordRequest(Method method, int code,
                                 uint64_t duration_ns) {
  const auto m = static_cast<size_t>(method);
  requests[m][CodeIndex(code)].Add();
  request_duration[m].Observe(duration_ns);
  (code == 0 ? success_ns : fail_ns).Add(duration_ns);
}

}  // namespace fff::metrics
