#include "server/rpc/transport/farewell.h"

#include <grpc/support/time.h>
#include <grpcpp/alarm.h>
#include <grpcpp/version_info.h>

#include <functional>

#include "absl/synchronization/notification.h"

// The three methods as src/core/lib/surface/server.h of gRPC 1.51 declares
// them. They are not virtual, so that their names are all that is relied on. A
// weak name is null where the library lacks it.
namespace grpc_core {
class Server {
 public:
  __attribute__((weak)) bool HasOpenConnections();
  __attribute__((weak)) void StopListening();
  __attribute__((weak)) void SendGoaways();
};
}  // namespace grpc_core

namespace fff::rpc {
namespace {

// A grpc_server is its grpc_core::Server (CppImplOf in the same sources).
grpc_core::Server* Core(grpc::Server* server) {
  return reinterpret_cast<grpc_core::Server*>(server->c_server());
}

template <class Method>
bool Exported(Method method) {
  return method != nullptr;
}

// gRPC's core needs an "execution context" on the stack. The threads that call
// alarms back have one.
void RunInCore(const std::function<void()>& work) {
  absl::Notification done;
  grpc::Alarm alarm;
  alarm.Set(gpr_now(GPR_CLOCK_MONOTONIC), [&](bool /*ok*/) {
    work();
    done.Notify();
  });
  done.WaitForNotification();
}

}  // namespace

bool Farewell::supported() const {
  return GRPC_CPP_VERSION_MAJOR == 1 && GRPC_CPP_VERSION_MINOR == 51 &&
         Exported(&grpc_core::Server::HasOpenConnections) &&
         Exported(&grpc_core::Server::StopListening) &&
         Exported(&grpc_core::Server::SendGoaways);
}

void Farewell::StopListening() {
  RunInCore([this] { Core(server_)->StopListening(); });
}

void Farewell::SendGoaways() {
  RunInCore([this] { Core(server_)->SendGoaways(); });
}

bool Farewell::HasConnections() const {
  return Core(server_)->HasOpenConnections();
}

}  // namespace fff::rpc
