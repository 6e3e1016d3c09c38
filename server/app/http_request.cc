#include "server/app/http_request.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <cstdint>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace fff::app {
namespace {

namespace http = boost::beast::http;

}  // namespace

struct HttpRequestReader::Parser {
  http::request_parser<http::empty_body> beast;
};

HttpRequestReader::HttpRequestReader() : parser_(std::make_unique<Parser>()) {
  parser_->beast.header_limit(kHeadBytesMax);
  // A body is refused with its method, whatever its length.
  parser_->beast.body_limit(std::numeric_limits<uint64_t>::max());
}

HttpRequestReader::~HttpRequestReader() = default;

HttpRequestReader::State HttpRequestReader::Read(absl::string_view bytes) {
  if (bytes.empty()) return State::kMore;
  // The parser looks at a head once it is whole. A client that speaks TLS would
  // wait for that until its time is over.
  if (read_bytes_ == 0 &&
      !absl::ascii_isalpha(static_cast<unsigned char>(bytes.front()))) {
    error_ = "bad request: this port speaks plain HTTP/1.1";
    return State::kBad;
  }
  bytes = bytes.substr(0, kHeadBytesMax - read_bytes_);
  read_bytes_ += bytes.size();
  absl::StrAppend(&pending_, bytes);
  auto& beast = parser_->beast;
  boost::beast::error_code code;
  pending_.erase(0, beast.put(boost::asio::buffer(pending_), code));
  const bool full = read_bytes_ == kHeadBytesMax && !beast.is_header_done();
  if (code == http::error::header_limit ||
      (full && (!code || code == http::error::need_more))) {
    error_ = absl::StrCat("the request line and header fields have more than ",
                          kHeadBytesMax, " bytes");
    return State::kTooLarge;
  }
  if (code && code != http::error::need_more) {
    error_ = absl::StrCat("bad request: ", code.message());
    return State::kBad;
  }
  if (!beast.is_header_done()) return State::kMore;
  const auto hosts = beast.get().count(http::field::host);
  if (hosts > 1 || (hosts == 0 && beast.get().version() == 11)) {
    error_ = "bad request: wanted one Host header";  // RFC 9112, 3.2
    return State::kBad;
  }
  return State::kDone;
}

HttpRequest HttpRequestReader::request() const {
  const auto& message = parser_->beast.get();
  std::string accept;
  const auto [begin, end] = message.equal_range(http::field::accept);
  for (auto field = begin; field != end; ++field) {
    if (!accept.empty()) accept += ", ";  // RFC 9110, 5.3
    accept.append(field->value().data(), field->value().size());
  }
  return {std::string(message.method_string()), std::string(message.target()),
          std::move(accept)};
}

}  // namespace fff::app
