// The first byte says in pieces of how many bytes the rest arrives, 0 for all
// at once. The rest is what a client sends to the HTTP port. Read in pieces it
// must give the same request as read at once, and the answer must be whole.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/app/http_request.h"
#include "server/app/http_routes.h"

namespace {

using fff::app::HttpAnswer;
using fff::app::HttpHandlers;
using fff::app::HttpRequest;
using fff::app::HttpRequestReader;
using State = HttpRequestReader::State;

void Require(bool promise) {
  if (!promise) std::abort();
}

// What the model's name begins with says how it is.
absl::Status ModelReady(const std::string& name, const std::string& version) {
  const std::string message = absl::StrCat(name, " of ", version);
  if (absl::StartsWith(name, "u")) return absl::UnavailableError(message);
  if (absl::StartsWith(name, "n")) return absl::NotFoundError(message);
  if (!version.empty()) return absl::InvalidArgumentError(message);
  return absl::OkStatus();
}

const HttpHandlers& Handlers() {
  static const auto* const handlers = new HttpHandlers{
      [](fff::metrics::TextFormat) { return std::string("rows 1\n"); },
      [] { return std::string("{}"); },
      [] { return std::string("[]"); },
      [] { return false; },
      ModelReady,
      "<html></html>",
      "fff",
      "1"};
  return *handlers;
}

State ReadAll(const std::string& bytes, size_t piece,
              HttpRequestReader& reader) {
  State state = State::kMore;
  for (size_t i = 0; i < bytes.size() && state == State::kMore; i += piece) {
    state = reader.Read(absl::string_view(bytes).substr(i, piece));
  }
  const bool failed = state == State::kBad || state == State::kTooLarge;
  Require(failed == !reader.error().empty());
  return state;
}

void CheckBytes(const HttpAnswer& answer, const std::string& method) {
  const std::string bytes = Encode(answer, method);
  const size_t end = bytes.find("\r\n\r\n");
  Require(absl::StartsWith(bytes, absl::StrCat("HTTP/1.1 ", answer.status)));
  Require(end != std::string::npos);
  const std::string head = bytes.substr(0, end + 2);
  Require(absl::StrContains(
      head, absl::StrCat("\r\nContent-Length: ", answer.body.size(), "\r\n")));
  Require(bytes.substr(end + 4) == (method == "HEAD" ? "" : answer.body));
  // Nothing that a client sends gets into the header fields.
  Require(std::all_of(head.begin(), head.end(), [](char c) {
    return (c >= ' ' && c <= '~') || c == '\r' || c == '\n';
  }));
  if (answer.content_type == "application/json") {
    Require(nlohmann::json::accept(answer.body));
  }
}

void CheckAnswer(const HttpRequest& request) {
  const HttpAnswer answer = Answer(Handlers(), request);
  CheckBytes(answer, request.method);
  const bool reads = request.method == "GET" || request.method == "HEAD";
  Require(reads || answer.status == 404 || answer.status == 405);
  Require(!TakesLong(request) || answer.status == 200);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  HttpRequestReader whole;
  HttpRequestReader pieces;
  const State state = ReadAll(bytes, std::max<size_t>(bytes.size(), 1), whole);
  const State same =
      ReadAll(bytes, data[0] == 0 ? size : size_t{data[0]}, pieces);
  Require((state == State::kDone) == (same == State::kDone));
  if (state == State::kDone) {
    Require(whole.request().method == pieces.request().method);
    Require(whole.request().target == pieces.request().target);
    Require(whole.request().accept == pieces.request().accept);
    CheckAnswer(whole.request());
  } else if (state != State::kMore) {
    CheckBytes(fff::app::ErrorAnswer(400, whole.error()), "");
  }
  return 0;
}
