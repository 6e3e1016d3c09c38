#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "server/app/http_routes.h"

namespace fff::app {

// Reads the head of one HTTP/1.0 or 1.1 request, however its bytes are cut into
// pieces. What follows the head is not looked at, since no path takes a body.
// Belongs to one thread. (Boost.Beast's parser stands behind it.)
class HttpRequestReader {
 public:
  enum class State { kMore, kDone, kBad, kTooLarge };
  // Of the request line and the header fields together.
  static constexpr size_t kHeadBytesMax = 8192;

  HttpRequestReader();
  ~HttpRequestReader();

  // Takes the next bytes. Call no more after anything but kMore.
  State Read(absl::string_view bytes);

  // After kDone.
  HttpRequest request() const;
  // After kBad or kTooLarge: what is wrong, for the client.
  const std::string& error() const { return error_; }

 private:
  struct Parser;

  std::unique_ptr<Parser> parser_;
  std::string pending_;  // bytes that the parser has not taken
  size_t read_bytes_ = 0;
  std::string error_;
};

}  // namespace fff::app
