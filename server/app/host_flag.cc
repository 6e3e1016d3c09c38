#include "server/app/host_flag.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "server/base/listen.h"
#include "server/base/log.h"

namespace fff::app {
namespace {

absl::Status Wrong(const std::string& text, absl::string_view wanted) {
  return absl::InvalidArgumentError(
      absl::StrCat("got '", base::Printable(text), "', wanted ", wanted));
}

// A link-local address may name its interface: fe80::1%eth0.
bool IsIpv6(absl::string_view text) {
  in6_addr address = {};
  const std::string number(text.substr(0, text.find('%')));
  return inet_pton(AF_INET6, number.c_str(), &address) == 1;
}

absl::StatusOr<std::string> ParseUnix(const std::string& text) {
  absl::string_view path = absl::StripPrefix(text, "unix:");
  const bool url = absl::StartsWith(path, "//");
  if (url) path.remove_prefix(2);
  if (path.empty() || (url && path.front() != '/')) {
    return Wrong(text, "unix:PATH or unix:///PATH");
  }
  return absl::StrCat("unix:", path);
}

}  // namespace

absl::StatusOr<std::string> ParseHost(const std::string& text) {
  constexpr char kAddress[] =
      "an address such as 127.0.0.1 or ::1, a host name, or unix:PATH";
  constexpr char kNoPort[] =
      "an address without a port: --grpc-port and --http-port take the ports";
  if (text.empty()) return Wrong(text, kAddress);
  if (base::IsUnixSocket(text)) return ParseUnix(text);
  if (text.front() == '[') {
    const size_t end = text.find(']');
    const std::string inside = text.substr(1, end - 1);
    if (end == std::string::npos || !IsIpv6(inside)) {
      return Wrong(text, "an IPv6 address between the brackets");
    }
    if (end + 1 != text.size()) return Wrong(text, kNoPort);
    return inside;
  }
  const auto colons = std::count(text.begin(), text.end(), ':');
  if (absl::StrContains(text, "://")) return Wrong(text, kAddress);
  if (colons == 1) return Wrong(text, kNoPort);
  if (colons > 1 && !IsIpv6(text)) {
    return Wrong(text, "an IPv6 address, such as ::1 or ::");
  }
  return text;
}

bool IsLoopback(const std::string& host) {
  if (base::IsUnixSocket(host)) return true;
  in_addr v4 = {};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) {
    return (ntohl(v4.s_addr) >> 24) == 127;
  }
  in6_addr v6 = {};
  if (inet_pton(AF_INET6, host.c_str(), &v6) == 1) {
    return IN6_IS_ADDR_LOOPBACK(&v6) ||
           (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
  }
  return host == "localhost";
}

std::string HttpHost(const std::string& host) {
  return base::IsUnixSocket(host) ? "127.0.0.1" : host;
}

}  // namespace fff::app
