#pragma once

// What the metrics of one request cost: everything that is recorded for a unary
// call of one row, in the order in which it is, into the structures that the
// server exports.
namespace fff::bench {

// Nanoseconds per request, the median over rounds. Each round holds a loop that
// reads what a request would record against one that records it too.
double RecordingNs();

}  // namespace fff::bench
