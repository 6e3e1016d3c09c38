#include "server/app/http_routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace fff::app {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class HttpRoutesTest : public ::testing::Test {
 protected:
  HttpRoutesTest() {
    handlers_.metrics = [](metrics::TextFormat format) {
      return std::string(format == metrics::TextFormat::kOpenMetrics
                             ? "rows 1\n# EOF\n"
                             : "rows 1\n");
    };
    handlers_.status = [] { return std::string("{}"); };
    handlers_.history = [] { return std::string("[]"); };
    handlers_.ready = [this] { return ready_; };
    handlers_.model_ready = [this](const std::string& name,
                                   const std::string& version) {
      asked_ = absl::StrCat(name, "|", version);
      return model_;
    };
    handlers_.page = "<html></html>";
    handlers_.name = "fff-server";
    handlers_.version = "1.2.3";
  }

  HttpAnswer Ask(const std::string& method, const std::string& target) {
    return Answer(handlers_, {method, target});
  }
  HttpAnswer Get(const std::string& target) { return Ask("GET", target); }

  HttpHandlers handlers_;
  bool ready_ = false;
  absl::Status model_;
  std::string asked_;
};

TEST_F(HttpRoutesTest, MetricsStatusAndPage) {
  EXPECT_EQ(Get("/metrics").body, "rows 1\n");
  EXPECT_EQ(Get("/metrics").content_type, "text/plain; version=0.0.4");
  EXPECT_EQ(Get("/status.json").content_type, "application/json");
  EXPECT_EQ(Get("/history.json").body, "[]");
  EXPECT_EQ(Get("/history.json").content_type, "application/json");
  EXPECT_EQ(Get("/").body, "<html></html>");
  EXPECT_THAT(Get("/").more_headers,
              StartsWith("Content-Security-Policy: default-src 'none'"));
}

TEST_F(HttpRoutesTest, MetricsInTheTextThatIsAskedFor) {
  const HttpAnswer answer = Answer(
      handlers_, {"GET", "/metrics", "application/openmetrics-text;q=0.5"});
  EXPECT_EQ(answer.content_type,
            "application/openmetrics-text; version=1.0.0; charset=utf-8");
  EXPECT_EQ(answer.body, "rows 1\n# EOF\n");
  // A cache between keeps the two apart.
  EXPECT_EQ(answer.more_headers, "Vary: Accept\r\n");
  EXPECT_EQ(Get("/metrics").more_headers, "Vary: Accept\r\n");
}

TEST_F(HttpRoutesTest, ReadinessFollowsTheServer) {
  EXPECT_EQ(Get("/healthz").body, "ok\n");
  EXPECT_EQ(Get("/readyz").status, 503);
  EXPECT_EQ(Get("/v2/health/ready").status, 503);
  EXPECT_EQ(Get("/v2/health/ready").body, R"({"ready":false})");
  ready_ = true;
  EXPECT_EQ(Get("/readyz").body, "ready\n");
  EXPECT_EQ(Get("/v2/health/ready").status, 200);
  EXPECT_EQ(Get("/v2/health/ready").body, R"({"ready":true})");
}

TEST_F(HttpRoutesTest, OpenInferenceServer) {
  EXPECT_EQ(Get("/v2/health/live").status, 200);
  EXPECT_EQ(Get("/v2/health/live").body, R"({"live":true})");
  EXPECT_EQ(Get("/v2").content_type, "application/json");
  EXPECT_EQ(Get("/v2").body,
            R"({"name":"fff-server","version":"1.2.3","extensions":[]})");
}

TEST_F(HttpRoutesTest, OpenInferenceModels) {
  EXPECT_EQ(Get("/v2/models/m/ready").body, R"({"name":"m","ready":true})");
  EXPECT_EQ(asked_, "m|");
  EXPECT_EQ(Get("/v2/models/m/versions/3/ready").status, 200);
  EXPECT_EQ(asked_, "m|3");
  model_ = absl::UnavailableError("is loading");
  EXPECT_EQ(Get("/v2/models/m/ready").status, 503);
  EXPECT_EQ(Get("/v2/models/m/ready").body,
            R"({"name":"m","ready":false,"error":"is loading"})");
  model_ = absl::NotFoundError("no \"m\"");
  EXPECT_EQ(Get("/v2/models/m/ready").status, 404);
  EXPECT_EQ(Get("/v2/models/m/ready").body, R"({"error":"no \"m\""})");
  model_ = absl::InvalidArgumentError("no number");
  EXPECT_EQ(Get("/v2/models/m/versions/x/ready").status, 400);
}

TEST_F(HttpRoutesTest, ModelNamesArePercentDecoded) {
  EXPECT_EQ(Get("/v2/models/a%20b%2Fc%3adense/ready").status, 200);
  EXPECT_EQ(asked_, "a b/c:dense|");
  EXPECT_EQ(Get("/v2/models/%ff+/ready").body,
            "{\"name\":\"\xef\xbf\xbd+\",\"ready\":true}")
      << "JSON is UTF-8 whatever the name is";
  asked_.clear();
  for (const char* name : {"a%", "a%2", "a%2g", "%zz"}) {
    EXPECT_EQ(Get(absl::StrCat("/v2/models/", name, "/ready")).status, 400);
  }
  EXPECT_EQ(asked_, "");
}

TEST_F(HttpRoutesTest, ASlashAQueryAndAHostChangeNothing) {
  for (const char* target :
       {"/metrics", "/metrics/", "/metrics?x=1", "/metrics/?x=/healthz",
        "http://host/metrics", "http://host:1/metrics/#a"}) {
    EXPECT_EQ(Get(target).body, "rows 1\n") << target;
  }
  EXPECT_EQ(Get("http://host").body, "<html></html>");
  EXPECT_EQ(Get("//").body, "<html></html>");
  EXPECT_EQ(Get("/?model=m").body, "<html></html>");
  EXPECT_EQ(Get("/v2/").status, 200);
  EXPECT_EQ(Get("/v2/models/m/ready/").status, 200);
}

TEST_F(HttpRoutesTest, OtherPathsAreNotFound) {
  for (const char* target :
       {"/nope", "/metrics/x", "/metricsx", "/metrics//", "///", "/readyz2", "",
        "*", "/../etc/passwd", "/%2e%2e/etc/passwd", "/v2/health", "/v2/models",
        "/v2/models/m", "/v2/models//ready", "/v2/models/m/versions/ready",
        "/v2/models/m/versions//ready", "/v2/models/m/x/1/ready",
        "/v2/models/m/infer"}) {
    EXPECT_EQ(Get(target).status, 404) << target;
    EXPECT_EQ(Ask("POST", target).status, 404) << target;
  }
  EXPECT_THAT(Get("/nope").body, HasSubstr("/metrics"));
  EXPECT_EQ(asked_, "");
}

TEST_F(HttpRoutesTest, OtherMethodsAreNotAllowed) {
  for (const char* method : {"POST", "PUT", "OPTIONS", "BREW", "get"}) {
    for (const char* target : {"/", "/metrics/", "/v2/models/m/ready"}) {
      EXPECT_EQ(Ask(method, target).status, 405) << method << target;
      EXPECT_EQ(Ask(method, target).more_headers, "Allow: GET, HEAD\r\n");
    }
  }
  EXPECT_EQ(asked_, "");
}

TEST_F(HttpRoutesTest, LongTextsAreToldFromProbes) {
  EXPECT_TRUE(TakesLong({"GET", "/metrics/?x"}));
  EXPECT_TRUE(TakesLong({"HEAD", "/status.json"}));
  EXPECT_TRUE(TakesLong({"GET", "/history.json"}));
  EXPECT_FALSE(TakesLong({"POST", "/metrics"}));
  EXPECT_FALSE(TakesLong({"GET", "/healthz"}));
  EXPECT_FALSE(TakesLong({"GET", "/v2/models/m/ready"}));
}

TEST_F(HttpRoutesTest, EncodesHeadersAndBody) {
  EXPECT_EQ(Encode(Get("/healthz"), "GET"),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
            "Content-Length: 3\r\nConnection: close\r\n"
            "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
            "\r\nok\n");
  EXPECT_THAT(Encode(Get("/healthz"), "HEAD"), EndsWith("nosniff\r\n\r\n"));
  EXPECT_THAT(Encode(Get("/healthz"), "HEAD"),
              HasSubstr("Content-Length: 3\r\n"));
  EXPECT_THAT(Encode(Ask("POST", "/"), "POST"),
              HasSubstr("\r\nAllow: GET, HEAD\r\n\r\n"));
  EXPECT_EQ(Encode(ErrorAnswer(431, "too much"), "").substr(0, 45),
            "HTTP/1.1 431 Request Header Fields Too Large\r");
}

}  // namespace
}  // namespace fff::app
