#pragma once

#include "server/app/config.h"

namespace fff::app {

// Builds the server bottom-up, serves until SIGTERM or SIGINT, stops it
// top-down. Returns the exit code: 0 after a clean stop, 1 when it could not
// start (the reason is logged). Expects BlockStopSignals to have been called.
int RunServer(const Config& config);

}  // namespace fff::app
