#pragma once

#include <grpcpp/grpcpp.h>

namespace fff::rpc {

// Lets the clients of a gRPC server go before it shuts down, without losing a
// call.
//
// grpc::Server::Shutdown cancels calls from its first moment on: also those
// that clients sent before they could know. An HTTP/2 server can do better (RFC
// 9113, section 6.8): GOAWAY with the highest stream number says "open no more
// streams here" and still takes those under way. A second GOAWAY closes the
// connection after a round trip. gRPC 1.51 does that for connections that reach
// their greatest age, and has methods that do it for all connections of a
// server. They are not in its installed headers. They are used where gRPC is
// 1.51 and its library exports them; elsewhere `supported` is false.
class Farewell {
 public:
  // The server has been started and outlives this.
  explicit Farewell(grpc::Server* server) : server_(server) {}

  bool supported() const;

  // The functions below want a gRPC that is `supported`.

  // Closes the listening sockets: new connections are refused.
  void StopListening();
  // Tells the clients of all connections to send new calls elsewhere; calls
  // that arrive all the same are served as ever. A connection is told once,
  // however often this is called, and closes after its last call. Those whose
  // handshake is under way are missed: call again.
  void SendGoaways();
  bool HasConnections() const;

 private:
  grpc::Server* const server_;
};

}  // namespace fff::rpc
