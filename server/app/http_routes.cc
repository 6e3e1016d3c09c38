#include "server/app/http_routes.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/app/accepted_format.h"
#include "server/app/percent_decoded.h"
#include "server/app/status_page.h"

namespace fff::app {
namespace {

using Json = nlohmann::ordered_json;

enum class Route {
  kUnknown,
  kPage,
  kStatus,
  kHistory,
  kMetrics,
  kHealth,
  kReady,
  kServer,
  kServerLive,
  kServerReady,
  kModelReady,
};

struct Path {
  absl::string_view text;
  Route route;
};

constexpr Path kPaths[] = {
    {"/", Route::kPage},
    {"/status.json", Route::kStatus},
    {"/history.json", Route::kHistory},
    {"/metrics", Route::kMetrics},
    {"/healthz", Route::kHealth},
    {"/readyz", Route::kReady},
    {"/v2", Route::kServer},
    {"/v2/health/live", Route::kServerLive},
    {"/v2/health/ready", Route::kServerReady},
};

constexpr char kNotFound[] =
    "not found; there are /, /status.json, /history.json, /metrics, /healthz, "
    "/readyz, /v2, /v2/health/live, /v2/health/ready, /v2/models/NAME/ready "
    "and "
    "/v2/models/NAME/versions/VERSION/ready\n";

struct Match {
  Route route = Route::kUnknown;
  std::string model;    // as in the path, for kModelReady
  std::string version;  // likewise; "" for the default version
};

// The path of a target, which may be a whole URL (RFC 9112, 3.2.2), without
// query, fragment and one slash at its end.
absl::string_view PathOf(absl::string_view target) {
  if (absl::ConsumePrefix(&target, "http://")) {
    const size_t slash = target.find('/');
    target = slash == target.npos ? "/" : target.substr(slash);
  }
  target = target.substr(0, target.find_first_of("?#"));
  return target == "/" ? target : absl::StripSuffix(target, "/");
}

Match MatchModel(absl::string_view path) {
  Match match;
  const std::vector<std::string> parts = absl::StrSplit(path, '/');
  const bool model = parts.size() == 5 || parts.size() == 7;
  if (!model || parts[1] != "v2" || parts[2] != "models" || parts[3].empty() ||
      parts.back() != "ready") {
    return match;
  }
  if (parts.size() == 7) {
    if (parts[4] != "versions" || parts[5].empty()) return match;
    match.version = parts[5];
  }
  match.route = Route::kModelReady;
  match.model = parts[3];
  return match;
}

Match MatchTarget(absl::string_view target) {
  const absl::string_view path = PathOf(target);
  for (const Path& known : kPaths) {
    if (path == known.text) return {known.route, "", ""};
  }
  return MatchModel(path);
}

HttpAnswer Text(int status, absl::string_view body) {
  HttpAnswer answer;
  answer.status = status;
  answer.body = std::string(body);
  return answer;
}

HttpAnswer JsonAnswer(int status, const Json& body) {
  HttpAnswer answer;
  answer.status = status;
  answer.content_type = "application/json";
  answer.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
  return answer;
}

HttpAnswer Page(absl::string_view page) {
  HttpAnswer answer;
  answer.content_type = "text/html; charset=utf-8";
  answer.more_headers =
      absl::StrCat("Content-Security-Policy: ", kStatusPagePolicy,
                   "\r\nReferrer-Policy: no-referrer\r\n");
  answer.body = std::string(page);
  return answer;
}

HttpAnswer Metrics(const HttpHandlers& handlers, absl::string_view accept) {
  const metrics::TextFormat format = AcceptedFormat(accept);
  HttpAnswer answer;
  answer.content_type = format == metrics::TextFormat::kOpenMetrics
                            ? metrics::kOpenMetricsContentType
                            : metrics::kTextContentType;
  answer.more_headers = "Vary: Accept\r\n";
  answer.body = handlers.metrics(format);
  return answer;
}

HttpAnswer ModelReady(const HttpHandlers& handlers, const Match& match) {
  const auto name = PercentDecoded(match.model);
  const auto version = PercentDecoded(match.version);
  if (!name || !version) {
    return JsonAnswer(400, {{"error",
                             "got a path with a % that no two hex "
                             "digits follow"}});
  }
  const absl::Status status = handlers.model_ready(*name, *version);
  if (status.ok()) return JsonAnswer(200, {{"name", *name}, {"ready", true}});
  const Json error = {{"error", std::string(status.message())}};
  if (absl::IsNotFound(status)) return JsonAnswer(404, error);
  if (absl::IsInvalidArgument(status)) return JsonAnswer(400, error);
  return JsonAnswer(503, {{"name", *name},
                          {"ready", false},
                          {"error", std::string(status.message())}});
}

absl::string_view ReasonPhrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 431:
      return "Request Header Fields Too Large";
    default:
      return "Service Unavailable";
  }
}

bool Reads(absl::string_view method) {
  return method == "GET" || method == "HEAD";
}

}  // namespace

bool TakesLong(const HttpRequest& request) {
  const Route route = MatchTarget(request.target).route;
  return Reads(request.method) &&
         (route == Route::kMetrics || route == Route::kStatus ||
          route == Route::kHistory);
}

HttpAnswer Answer(const HttpHandlers& handlers, const HttpRequest& request) {
  const Match match = MatchTarget(request.target);
  if (match.route == Route::kUnknown) return Text(404, kNotFound);
  if (!Reads(request.method)) {
    HttpAnswer answer = Text(405, "only GET and HEAD are allowed here\n");
    answer.more_headers = "Allow: GET, HEAD\r\n";
    return answer;
  }
  HttpAnswer answer;
  switch (match.route) {
    case Route::kPage:
      return Page(handlers.page);
    case Route::kStatus:
      answer.content_type = "application/json";
      answer.body = handlers.status();
      return answer;
    case Route::kHistory:
      answer.content_type = "application/json";
      answer.body = handlers.history();
      return answer;
    case Route::kMetrics:
      return Metrics(handlers, request.accept);
    case Route::kReady:
      return handlers.ready() ? Text(200, "ready\n") : Text(503, "not ready\n");
    case Route::kServer:  // no extension of the protocol is served over HTTP
      return JsonAnswer(200, {{"name", std::string(handlers.name)},
                              {"version", std::string(handlers.version)},
                              {"extensions", Json::array()}});
    case Route::kServerLive:
      return JsonAnswer(200, {{"live", true}});
    case Route::kServerReady: {
      const bool ready = handlers.ready();
      return JsonAnswer(ready ? 200 : 503, {{"ready", ready}});
    }
    case Route::kModelReady:
      return ModelReady(handlers, match);
    default:
      return Text(200, "ok\n");
  }
}

HttpAnswer ErrorAnswer(int status, absl::string_view reason) {
  return Text(status, absl::StrCat(reason, "\n"));
}

std::string Encode(const HttpAnswer& answer, absl::string_view method) {
  std::string bytes =
      absl::StrCat("HTTP/1.1 ", answer.status, " ", ReasonPhrase(answer.status),
                   "\r\nContent-Type: ", answer.content_type,
                   "\r\nContent-Length: ", answer.body.size(),
                   "\r\nConnection: close\r\nCache-Control: no-store"
                   "\r\nX-Content-Type-Options: nosniff\r\n",
                   answer.more_headers, "\r\n");
  if (method != "HEAD") bytes += answer.body;
  return bytes;
}

}  // namespace fff::app
