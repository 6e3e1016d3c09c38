#include "server/rpc/tracing/tracing.h"

#include <utility>

#include "server/base/status_macros.h"

namespace fff::rpc {

absl::StatusOr<std::unique_ptr<Tracing>> Tracing::Start(
    const TraceOptions& options, std::function<void(uint64_t)> on_exported,
    std::function<void(uint64_t)> on_dropped) {
  FFF_ASSIGN_OR_RETURN(std::unique_ptr<SpanSender> sender,
                       MakeOtlpSender(options.endpoint, options.ca_file));
  SpanExporterOptions exporter;
  exporter.receiver = options.endpoint.target;
  exporter.resource = options.resource;
  exporter.on_exported = std::move(on_exported);
  exporter.on_dropped = std::move(on_dropped);
  return std::make_unique<Tracing>(options.sample, std::move(exporter),
                                   std::move(sender));
}

}  // namespace fff::rpc
