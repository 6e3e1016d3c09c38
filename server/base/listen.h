#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// Where a server listens. `host` is a numeric address (IPv6 without brackets),
// a host name, or "unix:" and the path of a Unix socket, which has no port.
namespace fff::base {

// Whether `host` names a Unix socket.
bool IsUnixSocket(absl::string_view host);

// "127.0.0.1:8001", "[::1]:8001" or "unix:/run/fff.sock": the form of logs, and
// of the addresses that gRPC takes.
std::string HostPort(absl::string_view host, int port);

// UNAVAILABLE: "cannot listen on HOST:PORT for PURPOSE: REASON".
absl::Status CannotListen(absl::string_view host, int port,
                          absl::string_view purpose, absl::string_view reason);

// One open descriptor, closed at the end.
class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket();
  Socket(Socket&& other) noexcept : fd_(other.Release()) {}
  Socket& operator=(Socket&&) = delete;

  int fd() const { return fd_; }
  // The caller closes it.
  int Release();

 private:
  int fd_;
};

struct BoundSocket {
  Socket socket;  // non-blocking, closed on exec
  bool ipv6 = false;
};

struct BoundSockets {
  std::vector<BoundSocket> sockets;  // at least one
  int port = 0;
};

// Binds one TCP socket per address of `host`, all to the same port. Port 0
// picks a free one. "::" takes IPv4 too. An address that this machine lacks is
// passed over while another one can be had; a port in use is always an error.
// Looks names up, which blocks. The errors are those of CannotListen, with the
// system's own reason. `host` is no Unix socket.
absl::StatusOr<BoundSockets> BindTcp(const std::string& host, int port,
                                     absl::string_view purpose);

// Whether somebody else may listen there now: binds and lets go again. The file
// of a Unix socket on which nobody listens any more counts as free.
absl::Status CheckListen(const std::string& host, int port,
                         absl::string_view purpose);

}  // namespace fff::base
