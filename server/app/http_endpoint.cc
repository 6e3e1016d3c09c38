#include "server/app/http_endpoint.h"

#include <CivetServer.h>

#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/app/status_page.h"
#include "server/metrics/exporter.h"

namespace fff::app {
namespace {

void Reply(mg_connection* connection, int code, const char* reason,
           const char* content_type, absl::string_view body,
           absl::string_view more_headers = "") {
  const std::string head = absl::StrCat(
      "HTTP/1.1 ", code, " ", reason, "\r\nContent-Type: ", content_type,
      "\r\nContent-Length: ", body.size(),
      "\r\nConnection: close\r\nCache-Control: no-store"
      "\r\nX-Content-Type-Options: nosniff\r\n",
      more_headers, "\r\n");
  mg_write(connection, head.data(), head.size());
  const bool is_head = absl::string_view("HEAD") ==
                       mg_get_request_info(connection)->request_method;
  if (!is_head) mg_write(connection, body.data(), body.size());
}

// GET and HEAD of one path.
class GetHandler : public CivetHandler {
 public:
  using Answer = std::function<void(mg_connection*)>;
  explicit GetHandler(Answer answer) : answer_(std::move(answer)) {}
  bool handleGet(CivetServer*, mg_connection* connection) override {
    answer_(connection);
    return true;
  }
  bool handleHead(CivetServer* server, mg_connection* connection) override {
    return handleGet(server, connection);
  }

 private:
  const Answer answer_;
};

void ReplyNotFound(mg_connection* connection) {
  Reply(connection, 404, "Not Found", "text/plain",
        "not found; there are /, /status.json, /metrics, /healthz and "
        "/readyz\n");
}

void ReplyPage(mg_connection* connection) {
  Reply(connection, 200, "OK", "text/html; charset=utf-8", StatusPage(),
        absl::StrCat("Content-Security-Policy: ", kStatusPagePolicy,
                     "\r\nReferrer-Policy: no-referrer\r\n"));
}

}  // namespace

class HttpEndpoint::Server {
 public:
  Server(const std::vector<std::string>& options, HttpHandlers handlers)
      : handlers_(std::move(handlers)),
        metrics_([this](mg_connection* connection) {
          Reply(connection, 200, "OK", metrics::kTextContentType,
                handlers_.metrics());
        }),
        health_([](mg_connection* connection) {
          Reply(connection, 200, "OK", "text/plain", "ok\n");
        }),
        ready_([this](mg_connection* connection) {
          if (handlers_.ready()) {
            Reply(connection, 200, "OK", "text/plain", "ready\n");
          } else {
            Reply(connection, 503, "Service Unavailable", "text/plain",
                  "not ready\n");
          }
        }),
        status_([this](mg_connection* connection) {
          Reply(connection, 200, "OK", "application/json", handlers_.status());
        }),
        other_([](mg_connection* connection) {
          // CivetWeb prefers the handler of "/" to a pattern that ends there.
          const char* path = mg_get_request_info(connection)->local_uri;
          std::strcmp(path, "/") == 0 ? ReplyPage(connection)
                                      : ReplyNotFound(connection);
        }),
        server_(options) {
    // "$" ends the pattern: /metrics alone, not /metrics/anything.
    server_.addHandler("/metrics$", metrics_);
    server_.addHandler("/healthz$", health_);
    server_.addHandler("/readyz$", ready_);
    server_.addHandler("/status.json$", status_);
    server_.addHandler("/", other_);
  }

  int port() { return server_.getListeningPorts().at(0); }

 private:
  HttpHandlers handlers_;
  GetHandler metrics_;
  GetHandler health_;
  GetHandler ready_;
  GetHandler status_;
  GetHandler other_;
  CivetServer server_;
};

absl::StatusOr<std::unique_ptr<HttpEndpoint>> HttpEndpoint::Start(
    const std::string& host, int port, HttpHandlers handlers) {
  const bool ipv6 = absl::StrContains(host, ':');
  const std::string address =
      absl::StrCat(ipv6 ? "[" : "", host, ipv6 ? "]" : "", ":", port);
  // A kept-alive connection holds a thread: a few open status pages would shut
  // out the probes.
  const std::vector<std::string> options = {
      "listening_ports",   address, "num_threads",        "16",
      "enable_keep_alive", "no",    "request_timeout_ms", "10000"};
  try {
    auto server = std::make_unique<Server>(options, std::move(handlers));
    const int bound = server->port();
    return std::unique_ptr<HttpEndpoint>(
        new HttpEndpoint(std::move(server), bound));
  } catch (const CivetException&) {
    return absl::UnavailableError(absl::StrCat(
        "cannot listen on ", address,
        " for HTTP: the port is taken by another process or the address is not "
        "one of this machine"));
  }
}

HttpEndpoint::HttpEndpoint(std::unique_ptr<Server> server, int port)
    : server_(std::move(server)), port_(port) {}

HttpEndpoint::~HttpEndpoint() = default;

}  // namespace fff::app
