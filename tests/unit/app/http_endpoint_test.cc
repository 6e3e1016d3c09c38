#include "server/app/http_endpoint.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace fff::app {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Response {
  std::string head;  // status line and headers
  std::string body;
};

sockaddr_in Loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// One connection: sends `request` and reads until the server closes.
Response Exchange(int port, const std::string& request) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in address = Loopback(port);
  EXPECT_EQ(
      connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
      0);
  EXPECT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(request.size()));
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = recv(fd, buffer, sizeof(buffer), 0)) > 0;) {
    text.append(buffer, static_cast<size_t>(n));
  }
  close(fd);
  const size_t end = text.find("\r\n\r\n");
  if (end == std::string::npos) return {text, ""};
  return {text.substr(0, end + 2), text.substr(end + 4)};
}

Response Ask(int port, const std::string& method, const std::string& path) {
  return Exchange(port, absl::StrCat(method, " ", path,
                                     " HTTP/1.1\r\nHost: localhost\r\n"
                                     "Connection: close\r\n\r\n"));
}

// Whether a server could listen on `port` now.
bool IsFree(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const int reuse = 1;  // connections of these tests may linger
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
  const sockaddr_in address = Loopback(port);
  const bool bound = bind(fd, reinterpret_cast<const sockaddr*>(&address),
                          sizeof(address)) == 0;
  close(fd);
  return bound;
}

// All tests ask one endpoint, because CivetWeb takes two seconds to stop.
class HttpEndpointTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto started = HttpEndpoint::Start("127.0.0.1", 0, Handlers());
    ASSERT_TRUE(started.ok()) << started.status();
    endpoint_ = started->release();
  }

  static void TearDownTestSuite() {
    const int port = endpoint_->port();
    EXPECT_FALSE(IsFree(port));
    delete endpoint_;
    EXPECT_TRUE(IsFree(port)) << "it lets go of its port when it is gone";
  }

  HttpEndpointTest() {
    ready_ = false;
    scrapes_ = 0;
  }

  static HttpHandlers Handlers() {
    HttpHandlers handlers;
    handlers.metrics = [] {
      ++scrapes_;
      return std::string("fff_rows_total 1\n");
    };
    handlers.status = [] { return std::string("{\"models\": []}"); };
    handlers.ready = [] { return ready_.load(); };
    return handlers;
  }

  static Response Get(const std::string& path) {
    return Ask(endpoint_->port(), "GET", path);
  }

  static std::atomic<bool> ready_;
  static std::atomic<int> scrapes_;
  static HttpEndpoint* endpoint_;
};
std::atomic<bool> HttpEndpointTest::ready_{false};
std::atomic<int> HttpEndpointTest::scrapes_{0};
HttpEndpoint* HttpEndpointTest::endpoint_ = nullptr;

TEST_F(HttpEndpointTest, PicksAFreePort) { EXPECT_GT(endpoint_->port(), 0); }

TEST_F(HttpEndpointTest, ServesMetricsAsPrometheusText) {
  const Response response = Get("/metrics");
  EXPECT_THAT(response.head, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(response.head,
              HasSubstr("Content-Type: text/plain; version=0.0.4\r\n"));
  EXPECT_THAT(response.head, HasSubstr("Content-Length: 17\r\n"));
  EXPECT_EQ(response.body, "fff_rows_total 1\n");
  EXPECT_EQ(scrapes_, 1);
}

TEST_F(HttpEndpointTest, IsAliveWhetherReadyOrNot) {
  const Response response = Get("/healthz");
  EXPECT_THAT(response.head, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_EQ(response.body, "ok\n");
}

TEST_F(HttpEndpointTest, ReadinessFollowsTheServer) {
  EXPECT_THAT(Get("/readyz").head,
              StartsWith("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_EQ(Get("/readyz").body, "not ready\n");
  ready_ = true;
  EXPECT_THAT(Get("/readyz").head, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_EQ(Get("/readyz").body, "ready\n");
  ready_ = false;
  EXPECT_THAT(Get("/readyz").head, StartsWith("HTTP/1.1 503"));
}

TEST_F(HttpEndpointTest, ServesTheStatusPageAndWhatItReads) {
  const Response page = Get("/");
  EXPECT_THAT(page.head, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(page.head, HasSubstr("Content-Type: text/html; charset=utf-8"));
  EXPECT_THAT(page.head,
              HasSubstr("Content-Security-Policy: default-src 'none'"));
  EXPECT_THAT(page.body, HasSubstr("</html>"));
  const Response json = Get("/status.json");
  EXPECT_THAT(json.head, HasSubstr("Content-Type: application/json\r\n"));
  EXPECT_EQ(json.body, "{\"models\": []}");
}

TEST_F(HttpEndpointTest, OtherPathsAreNotFound) {
  for (const char* path :
       {"/nope", "/metrics/x", "/metricsx", "/healthz/", "/readyz2",
        "/../etc/passwd", "/%2e%2e/etc/passwd"}) {
    const Response response = Get(path);
    EXPECT_TRUE(absl::StartsWith(response.head, "HTTP/1.1 404") ||
                absl::StartsWith(response.head, "HTTP/1.1 400"))
        << path << ": " << response.head;
    EXPECT_EQ(scrapes_, 0) << path;
  }
  EXPECT_THAT(Get("/nope").body, HasSubstr("/metrics"));
}

TEST_F(HttpEndpointTest, AQueryDoesNotChangeThePath) {
  EXPECT_EQ(Get("/metrics?x=1").body, "fff_rows_total 1\n");
}

TEST_F(HttpEndpointTest, HeadGivesTheHeadersAlone) {
  const Response response = Ask(endpoint_->port(), "HEAD", "/metrics");
  EXPECT_THAT(response.head, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_EQ(response.body, "");
  EXPECT_EQ(Ask(endpoint_->port(), "HEAD", "/nope").body, "");
}

TEST_F(HttpEndpointTest, OtherMethodsChangeNothing) {
  for (const char* method : {"POST", "PUT", "DELETE", "PATCH", "OPTIONS"}) {
    for (const char* path : {"/metrics", "/readyz", "/nope"}) {
      const Response response = Ask(endpoint_->port(), method, path);
      EXPECT_TRUE(absl::StartsWith(response.head, "HTTP/1.1 405") ||
                  absl::StartsWith(response.head, "HTTP/1.1 404"))
          << method << " " << path << ": " << response.head;
    }
  }
  EXPECT_EQ(scrapes_, 0);
}

TEST_F(HttpEndpointTest, GoesOnAfterNonsense) {
  for (const std::string& nonsense :
       {std::string("\r\n\r\n"), std::string("hello\r\n\r\n"),
        std::string("GET\r\n\r\n"), std::string(100, '\0') + "\r\n\r\n",
        "GET /" + std::string(100000, 'x') + " HTTP/1.1\r\n\r\n"}) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const sockaddr_in address = Loopback(endpoint_->port());
    ASSERT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address),
                      sizeof(address)),
              0);
    // The server may close before it has read all.
    send(fd, nonsense.data(), nonsense.size(), MSG_NOSIGNAL);
    close(fd);
  }
  EXPECT_EQ(Get("/healthz").body, "ok\n");
}

TEST_F(HttpEndpointTest, AnswersManyAtOnce) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 10; ++i) {
        EXPECT_EQ(Get("/metrics").body, "fff_rows_total 1\n");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(scrapes_, 80);
}

TEST_F(HttpEndpointTest, ASecondOneOnItsPortDoesNotStart) {
  const auto second =
      HttpEndpoint::Start("127.0.0.1", endpoint_->port(), Handlers());
  EXPECT_EQ(second.status(),
            absl::UnavailableError(absl::StrCat(
                "cannot listen on 127.0.0.1:", endpoint_->port(),
                " for HTTP: the port is taken by another process or the "
                "address is not one of this machine")));
  EXPECT_EQ(Get("/healthz").body, "ok\n");
}

TEST_F(HttpEndpointTest, AnAddressOfAnotherMachineIsRefused) {
  EXPECT_EQ(HttpEndpoint::Start("192.0.2.1", 0, Handlers()).status().code(),
            absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace fff::app
