#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/rpc/observe/access_log.h"
#include "server/rpc/tracing/span_exporter.h"
#include "server/rpc/tracing/trace_sampler.h"

namespace fff::rpc {

struct TraceOptions {
  OtlpEndpoint endpoint;  // none: no request becomes a span
  std::string ca_file;    // as in MakeOtlpSender
  double sample = 0.01;   // as in TraceSampler
  ResourceAttributes resource;

  bool enabled() const { return !endpoint.target.empty(); }
};

// Which requests become spans, and where these go. Thread-safe; no request
// waits for it.
class Tracing {
 public:
  // The callbacks are those of SpanExporterOptions. The errors of
  // MakeOtlpSender; a receiver that is not there is none.
  static absl::StatusOr<std::unique_ptr<Tracing>> Start(
      const TraceOptions& options, std::function<void(uint64_t)> on_exported,
      std::function<void(uint64_t)> on_dropped);

  Tracing(double sample, SpanExporterOptions options,
          std::unique_ptr<SpanSender> sender)
      : sampler_(sample), exporter_(std::move(options), std::move(sender)) {}

  // As TraceSampler.
  std::optional<SpanIds> Sample(const TraceContext* caller) const {
    return sampler_.Sample(caller);
  }
  // A sampled request that ended at `end_unix_ns`.
  void Add(const AccessEntry& entry, const SpanIds& ids, int64_t end_unix_ns) {
    exporter_.Add(MakeSpan(entry, ids, end_unix_ns));
  }
  // As SpanExporter.
  void Stop(absl::Time deadline) { exporter_.Stop(deadline); }

 private:
  const TraceSampler sampler_;
  SpanExporter exporter_;
};

}  // namespace fff::rpc
