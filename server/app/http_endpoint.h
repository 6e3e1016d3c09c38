#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/app/http_connections.h"
#include "server/app/http_routes.h"

namespace fff::app {

// The HTTP port: what http_routes.h answers, over plain HTTP; holds no secrets.
//
// Two threads, whatever the number of connections. One moves the bytes of all
// of them and answers at once; the other puts long texts together. So neither
// silent clients nor a scrape delay a probe. A connection serves one request.
// One more than the limits allow closes the oldest.
class HttpEndpoint {
 public:
  // Binds and starts; port 0 picks a free one. The errors of base::BindTcp.
  static absl::StatusOr<std::unique_ptr<HttpEndpoint>> Start(
      const std::string& host, int port, HttpHandlers handlers,
      const HttpLimits& limits = {});
  // Closes all connections. Blocks while a text is being put together.
  ~HttpEndpoint();

  int port() const { return port_; }
  // Another process may have the port when this returns. Connections that are
  // there are still answered.
  void StopListening();

 private:
  class Server;
  explicit HttpEndpoint(std::unique_ptr<Server> server, int port);

  std::unique_ptr<Server> server_;
  int port_;
};

}  // namespace fff::app
