#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace fff::app {

// What --host says, in the form that server/base/listen.h takes: the brackets
// around an IPv6 address are dropped, unix:///PATH becomes unix:/PATH. An
// INVALID_ARGUMENT tells what was got and wanted: for a port behind the
// address, for what only looks like an IPv6 address, for an empty text. Pure;
// looks no name up.
absl::StatusOr<std::string> ParseHost(const std::string& text);

// Whether only this machine reaches a port on `host`: "localhost", 127.0.0.0/8
// or ::1, written as numbers, or a Unix socket. `host` comes from ParseHost.
// Pure; looks no name up.
bool IsLoopback(const std::string& host);

// Where HTTP listens while gRPC listens on `host`: the same, but 127.0.0.1
// beside a Unix socket.
std::string HttpHost(const std::string& host);

}  // namespace fff::app
