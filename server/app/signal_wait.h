#pragma once

namespace fff::app {

// Blocks SIGTERM and SIGINT in this thread and all it starts later, and ignores
// SIGPIPE. Call first thing in main: as process 1 of a container, a signal that
// comes before is lost.
void BlockStopSignals();

// Waits for SIGTERM or SIGINT and returns its number.
int AwaitStopSignal();

// The same, but at most `seconds`; 0 when none came.
int AwaitStopSignal(double seconds);

}  // namespace fff::app
