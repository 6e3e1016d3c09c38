#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace fff::app {

// What the HTTP port answers. The functions are called on its threads, several
// at once.
struct HttpHandlers {
  std::function<std::string()> metrics;  // Prometheus text
  std::function<std::string()> status;   // JSON that the status page reads
  std::function<bool()> ready;
};

// The HTTP port: /metrics, /healthz (200 while the process runs), /readyz (200
// when ready, else 503), the status page at / and its /status.json. Plain HTTP
// only; holds no secrets.
class HttpEndpoint {
 public:
  // Binds and starts; port 0 picks a free one. UNAVAILABLE when the port is
  // taken or the address is not this machine's.
  static absl::StatusOr<std::unique_ptr<HttpEndpoint>> Start(
      const std::string& host, int port, HttpHandlers handlers);
  ~HttpEndpoint();

  int port() const { return port_; }

 private:
  class Server;
  explicit HttpEndpoint(std::unique_ptr<Server> server, int port);

  std::unique_ptr<Server> server_;
  int port_;
};

}  // namespace fff::app
