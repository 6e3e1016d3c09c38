#include "server/app/http_endpoint.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "server/app/status_page.h"

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

int Connect(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in address = Loopback(port);
  EXPECT_EQ(
      connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
      0);
  return fd;
}

void Send(int fd, const std::string& bytes) {
  EXPECT_EQ(send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size()));
}

// All that comes until the server closes; closes too.
std::string ReadToEnd(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = recv(fd, buffer, sizeof(buffer), 0)) > 0;) {
    text.append(buffer, static_cast<size_t>(n));
  }
  close(fd);
  return text;
}

// One connection: sends `request` and reads until the server closes.
Response Exchange(int port, const std::string& request) {
  const int fd = Connect(port);
  Send(fd, request);
  const std::string text = ReadToEnd(fd);
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
    handlers.metrics = [](metrics::TextFormat) {
      ++scrapes_;
      return std::string("fff_rows_total 1\n");
    };
    handlers.status = [] { return std::string("{\"models\": []}"); };
    handlers.ready = [] { return ready_.load(); };
    handlers.model_ready = [](const std::string& name, const std::string&) {
      return name == "m" ? absl::OkStatus() : absl::NotFoundError(name);
    };
    handlers.page = StatusPage();
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
  for (const char* path : {"/nope", "/metrics/x", "/metricsx", "/readyz2",
                           "/../etc/passwd", "/%2e%2e/etc/passwd"}) {
    const Response response = Get(path);
    EXPECT_THAT(response.head, StartsWith("HTTP/1.1 404 Not Found")) << path;
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
      EXPECT_THAT(response.head,
                  StartsWith(path == std::string("/nope") ? "HTTP/1.1 404"
                                                          : "HTTP/1.1 405"))
          << method << " " << path;
    }
  }
  EXPECT_EQ(scrapes_, 0);
}

TEST_F(HttpEndpointTest, GoesOnAfterNonsense) {
  for (const std::string& nonsense :
       {std::string("\r\n\r\n"), std::string("hello\r\n\r\n"),
        std::string("GET\r\n\r\n"), std::string(100, '\0') + "\r\n\r\n",
        "GET /" + std::string(100000, 'x') + " HTTP/1.1\r\n\r\n"}) {
    const int fd = Connect(endpoint_->port());
    // The server may close before it has read all.
    send(fd, nonsense.data(), nonsense.size(), MSG_NOSIGNAL);
    close(fd);
  }
  EXPECT_EQ(Get("/healthz").body, "ok\n");
}

TEST_F(HttpEndpointTest, SaysWhatIsWrongWithARequest) {
  const int port = endpoint_->port();
  EXPECT_THAT(Exchange(port, "GET\r\n\r\n").head,
              StartsWith("HTTP/1.1 400 Bad Request\r\n"));
  EXPECT_THAT(Exchange(port, "\x16\x03").head, StartsWith("HTTP/1.1 400"));
  const Response large =
      Exchange(port, "GET / HTTP/1.1\r\nx: " + std::string(100000, 'x'));
  EXPECT_THAT(large.head, StartsWith("HTTP/1.1 431 Request Header Fields"));
}

TEST_F(HttpEndpointTest, ABodyDoesNotCostTheClientItsAnswer) {
  const Response response = Exchange(
      endpoint_->port(),
      "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n" +
          std::string(500000, 'x'));
  EXPECT_THAT(response.head, StartsWith("HTTP/1.1 405 Method Not Allowed"));
  EXPECT_THAT(response.head, HasSubstr("\r\nAllow: GET, HEAD\r\n"));
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
            absl::UnavailableError(
                absl::StrCat("cannot listen on 127.0.0.1:", endpoint_->port(),
                             " for HTTP: Address already in use")));
  EXPECT_EQ(Get("/healthz").body, "ok\n");
}

TEST_F(HttpEndpointTest, AnAddressOfAnotherMachineIsRefused) {
  EXPECT_EQ(HttpEndpoint::Start("192.0.2.1", 0, Handlers()).status().code(),
            absl::StatusCode::kUnavailable);
}

// Endpoints of their own, which know only what a test gives them.
class HttpLimitsTest : public ::testing::Test {
 protected:
  HttpLimitsTest() {
    handlers_.metrics = [](metrics::TextFormat) {
      return std::string("rows 1\n");
    };
    // Far beyond what a test takes: nothing here ends by itself.
    limits_.head_time = limits_.answer_time = limits_.close_time =
        std::chrono::hours(1);
  }

  void Start() {
    auto started = HttpEndpoint::Start("127.0.0.1", 0, handlers_, limits_);
    ASSERT_TRUE(started.ok()) << started.status();
    endpoint_ = *std::move(started);
  }
  int Open() { return Connect(endpoint_->port()); }
  Response Get(const std::string& path) {
    return Ask(endpoint_->port(), "GET", path);
  }

  HttpHandlers handlers_;
  HttpLimits limits_;
  std::unique_ptr<HttpEndpoint> endpoint_;
};

TEST_F(HttpLimitsTest, AProbeDoesNotWaitForAScrape) {
  absl::Notification scraped;
  absl::Notification answer;
  handlers_.metrics = [&](metrics::TextFormat) {
    scraped.Notify();
    answer.WaitForNotification();
    return std::string("late\n");
  };
  Start();
  const int scrape = Open();
  Send(scrape, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
  scraped.WaitForNotification();
  EXPECT_EQ(Get("/healthz").body, "ok\n");
  answer.Notify();
  EXPECT_THAT(ReadToEnd(scrape), HasSubstr("\r\n\r\nlate\n"));
}

TEST_F(HttpLimitsTest, SilentConnectionsCostNobodyTheirAnswer) {
  Start();
  std::vector<int> silent(50);
  for (int& fd : silent) fd = Open();
  for (size_t i = 0; i < silent.size(); i += 2) {
    Send(silent[i], "GET /healthz HTTP/1.1\r\nHos");
  }
  EXPECT_EQ(Get("/healthz").body, "ok\n");
  EXPECT_EQ(Get("/metrics").body, "rows 1\n");
  endpoint_.reset();  // would take an hour if it waited for them
  for (const int fd : silent) EXPECT_EQ(ReadToEnd(fd), "");
}

TEST_F(HttpLimitsTest, AnAddressWithItsShareLosesItsOldestConnection) {
  limits_.connections_per_address = 3;
  Start();
  std::vector<int> silent(5);
  for (int& fd : silent) fd = Open();
  EXPECT_EQ(Get("/healthz").body, "ok\n") << "the third of those that are left";
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(ReadToEnd(silent[i]), "") << i;
  for (size_t i = 3; i < 5; ++i) {
    Send(silent[i], "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_THAT(ReadToEnd(silent[i]), HasSubstr("200 OK")) << i;
  }
}

TEST_F(HttpLimitsTest, AHeadThatTricklesIsCut) {
  limits_.head_time = std::chrono::milliseconds(50);
  Start();
  const int fd = Open();
  pollfd readable = {fd, POLLIN, 0};
  // Until the server closes. A head of 8192 bytes would be answered with 431.
  for (int i = 0; i < 8192 && poll(&readable, 1, 1) == 0; ++i) {
    send(fd, "G", 1, MSG_NOSIGNAL);
  }
  EXPECT_EQ(ReadToEnd(fd), "");
}

TEST_F(HttpLimitsTest, AnAnswerThatIsNotReadIsCut) {
  handlers_.metrics = [](metrics::TextFormat) {
    return std::string(64 << 20, 'x');
  };
  limits_.answer_time = std::chrono::milliseconds(50);
  Start();
  const int fd = Open();
  Send(fd, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
  // The end of the connection, not what the system holds of the answer.
  pollfd ended = {fd, POLLRDHUP, 0};
  EXPECT_EQ(poll(&ended, 1, 60000), 1);
  EXPECT_LT(ReadToEnd(fd).size(), size_t{64} << 20);
}

}  // namespace
}  // namespace fff::app
