#pragma once

#include <string>

// The baseline: what a gRPC server costs that does nothing. The same completion
// queue design as ours (a thread per queue, calls armed ahead, messages used
// again), generated messages parsed and written; every request is answered with
// the same message. It knows Predict and PredictStream.
namespace fff::bench {

// Serves on a free port of 127.0.0.1, says so on standard error ("echo grpc=")
// and never returns. `answer` is a serialised fff.v1.PredictResponse.
void RunEcho(const std::string& answer, int queues);

}  // namespace fff::bench
