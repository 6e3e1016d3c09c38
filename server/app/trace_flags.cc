#include "server/app/trace_flags.h"

#include <CLI/CLI.hpp>

#include "server/rpc/tracing/span_sender.h"

namespace fff::app {
namespace {

std::string CheckEndpoint(const std::string& text) {
  return std::string(rpc::ParseOtlpEndpoint(text).status().message());
}

}  // namespace

void AddTraceOptions(CLI::App& app, TraceFlags& flags) {
  app.add_option("--otlp-endpoint", flags.endpoint,
                 "Receiver of OpenTelemetry spans over gRPC: host:port, or "
                 "https://host:port with TLS")
      ->check(CLI::Validator(
          [](std::string& text) { return CheckEndpoint(text); }, "ENDPOINT"))
      ->envname("FFF_OTLP_ENDPOINT");
  app.add_option("--otlp-ca-file", flags.ca_file,
                 "PEM certificates of which the receiver must show one; those "
                 "of the system where it is left out")
      ->check(CLI::ExistingFile)
      ->envname("FFF_OTLP_CA_FILE");
  app.add_option("--trace-sample", flags.sample,
                 "Share of the requests without a traceparent that become "
                 "spans; the flag of a traceparent decides where one comes")
      ->check(CLI::Range(0.0, 1.0))
      ->envname("FFF_TRACE_SAMPLE")
      ->capture_default_str();
}

}  // namespace fff::app
