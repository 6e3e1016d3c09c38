#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/app/trace_flags.h"
#include "server/rpc/tracing/tracing.h"

namespace fff::app {

// The value of an environment variable; "" = it is not set.
using Environment = std::function<std::string(const char* name)>;

struct TraceChoice {
  rpc::TraceOptions options;
  // What is wrong with a variable that is meant for many programs, and which is
  // therefore left aside.
  std::vector<std::string> warnings;
};
// Where spans go: `flags` decide, and where they name no endpoint the variables
// OTEL_... that deploy/README.md lists. They also name the process; so do
// `host`, its name, and `pid`.
TraceChoice ChooseTracing(const TraceFlags& flags,
                          const Environment& environment,
                          absl::string_view host, int pid);

// That of this process, its environment and its host; the log tells the choice.
rpc::TraceOptions ChooseTracing(const TraceFlags& flags);

}  // namespace fff::app
