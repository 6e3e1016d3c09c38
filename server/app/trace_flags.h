#pragma once

#include <string>

namespace CLI {
class App;
}

namespace fff::app {

// Where spans go and which, as the operator says; tracing_choice.h adds what
// OpenTelemetry's own variables say.
struct TraceFlags {
  std::string endpoint;  // as in rpc::ParseOtlpEndpoint; "" = none is named
  std::string ca_file;
  double sample = 0.01;
};

// --otlp-endpoint, --otlp-ca-file and --trace-sample.
void AddTraceOptions(CLI::App& app, TraceFlags& flags);

}  // namespace fff::app
