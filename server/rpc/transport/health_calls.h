#pragma once

#include "server/rpc/transport/call_queue.h"

// The calls of grpc.health.v1 on a completion queue. Each keeps itself alive
// until its last event.
namespace fff::rpc {

// Wait for one call; one that comes waits for the next before it is answered.
void ArmHealthCheck(CallQueue* owner);
void ArmHealthWatch(CallQueue* owner);

}  // namespace fff::rpc
