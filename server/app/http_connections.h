#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace fff::app {

// How many connections the HTTP port holds, and how long each may take.
struct HttpLimits {
  // Most systems allow a process 1024 open files, which gRPC needs too.
  size_t connections = 256;
  // An IPv6 network of 64 bits counts as one address.
  size_t connections_per_address = 64;
  // Each is a total: a client that sends or reads one byte at a time gains
  // nothing. From the connection to the end of the request's head.
  std::chrono::milliseconds head_time{10000};
  std::chrono::milliseconds answer_time{10000};  // to read the answer
  std::chrono::milliseconds close_time{2000};    // to close after the answer
};

// Who is connected: the address of each connection, by a number that grows with
// every connection, so that the oldest comes first.
using HttpPeers = std::map<int64_t, std::string>;

// The connection that must go before one more from `address` fits: the oldest
// of that address, or else the oldest of all. Requests are answered within
// milliseconds, so what is old waits for a client. Pure.
std::optional<int64_t> ConnectionToClose(const HttpPeers& peers,
                                         const std::string& address,
                                         const HttpLimits& limits);

}  // namespace fff::app
