#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/metrics/text_format.h"

// What the HTTP port answers to which request. Knows neither sockets nor bytes.
namespace fff::app {

// What the answers are made of. The functions are called on the threads of
// http_endpoint.h, several at once.
struct HttpHandlers {
  std::function<std::string(metrics::TextFormat)> metrics;
  std::function<std::string()> status;   // JSON that the status page reads
  std::function<std::string()> history;  // likewise, of the last minute
  std::function<bool()> ready;           // does not block
  // OK when that version of the model is ready, UNAVAILABLE when it is not,
  // NOT_FOUND when it is unknown, INVALID_ARGUMENT for no version at all;
  // `version` "" is the default one. Does not block.
  std::function<absl::Status(const std::string& name,
                             const std::string& version)>
      model_ready;
  absl::string_view page;     // the status page, HTML
  absl::string_view name;     // of the server
  absl::string_view version;  // of the server
};

struct HttpRequest {
  std::string method;    // as it came: "GET"
  std::string target;    // as it came: "/metrics?x=1"
  std::string accept{};  // its Accept fields, as one list
};

struct HttpAnswer {
  int status = 200;
  std::string content_type = "text/plain";
  std::string more_headers;  // whole lines, each with its CRLF
  std::string body;
};

// Whether the answer is put together of all models, which takes milliseconds.
bool TakesLong(const HttpRequest& request);

// GET and HEAD of the paths that deploy/README.md lists; one slash at the end
// of a path changes nothing. 404 for other paths, 405 for other methods.
HttpAnswer Answer(const HttpHandlers& handlers, const HttpRequest& request);

// For a request that cannot be read: 400 or 431.
HttpAnswer ErrorAnswer(int status, absl::string_view reason);

// The bytes that go to the client, after which the connection is closed. The
// answer to `method` HEAD has no body, but says how long it would be.
std::string Encode(const HttpAnswer& answer, absl::string_view method);

}  // namespace fff::app
