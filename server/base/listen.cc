#include "server/base/listen.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace fff::base {
namespace {

constexpr char kUnixPrefix[] = "unix:";
// How often another free port is tried where a name has several addresses and
// the port picked on the first is taken on the next.
constexpr int kFreePortTries = 16;

std::string Reason(int error) { return std::generic_category().message(error); }

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

// 0, or the error of getaddrinfo.
int Resolve(const std::string& host, Addresses& addresses) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (error == 0) addresses.reset(found);
  return error;
}

void SetPort(sockaddr_storage& address, int port) {
  const in_port_t value = htons(static_cast<uint16_t>(port));
  if (address.ss_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6&>(address).sin6_port = value;
  } else {
    reinterpret_cast<sockaddr_in&>(address).sin_port = value;
  }
}

int PortOf(int fd) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                   : reinterpret_cast<sockaddr_in&>(address).sin_port);
}

// 0, or errno.
int BindOne(const addrinfo& where, BoundSockets& bound) {
  const bool ipv6 = where.ai_family == AF_INET6;
  Socket socket(
      ::socket(where.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket.fd() < 0) return errno;
  const int on = 1;
  const int off = 0;
  // Connections of a server that has just ended do not hold the port.
  setsockopt(socket.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (ipv6) {
    setsockopt(socket.fd(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  }
  sockaddr_storage address = {};
  std::memcpy(&address, where.ai_addr, where.ai_addrlen);
  SetPort(address, bound.port);
  if (bind(socket.fd(), reinterpret_cast<const sockaddr*>(&address),
           where.ai_addrlen) != 0) {
    return errno;
  }
  bound.port = PortOf(socket.fd());
  bound.sockets.push_back({std::move(socket), ipv6});
  return 0;
}

// 0, or the errno of the first address that could not be had.
int BindAll(const addrinfo* addresses, BoundSockets& bound) {
  int first_error = 0;
  for (const addrinfo* where = addresses; where != nullptr;
       where = where->ai_next) {
    const int error = BindOne(*where, bound);
    if (error == 0) continue;
    const bool lacking = error == EADDRNOTAVAIL || error == EAFNOSUPPORT;
    if (!lacking) return error;
    if (first_error == 0) first_error = error;
  }
  return bound.sockets.empty() ? first_error : 0;
}

// 0, or errno.
int CheckUnixSocket(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return ENAMETOOLONG;
  std::memcpy(address.sun_path, path.data(), path.size());
  const auto* const where = reinterpret_cast<const sockaddr*>(&address);
  const Socket socket(
      ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket.fd() < 0) return errno;
  struct stat info;
  if (lstat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode)) {
    if (connect(socket.fd(), where, sizeof(address)) == 0) return EADDRINUSE;
    if (errno == EAGAIN) return EADDRINUSE;  // its queue is full
    return errno == ECONNREFUSED ? 0 : errno;
  }
  if (bind(socket.fd(), where, sizeof(address)) != 0) return errno;
  unlink(path.c_str());
  return 0;
}

}  // namespace

bool IsUnixSocket(absl::string_view host) {
  return absl::StartsWith(host, kUnixPrefix);
}

std::string HostPort(absl::string_view host, int port) {
  if (IsUnixSocket(host)) return std::string(host);
  const bool ipv6 = absl::StrContains(host, ':');
  return absl::StrCat(ipv6 ? "[" : "", host, ipv6 ? "]" : "", ":", port);
}

absl::Status CannotListen(absl::string_view host, int port,
                          absl::string_view purpose, absl::string_view reason) {
  return absl::UnavailableError(absl::StrCat("cannot listen on ",
                                             HostPort(host, port), " for ",
                                             purpose, ": ", reason));
}

Socket::~Socket() {
  if (fd_ >= 0) close(fd_);
}

int Socket::Release() { return std::exchange(fd_, -1); }

absl::StatusOr<BoundSockets> BindTcp(const std::string& host, int port,
                                     absl::string_view purpose) {
  Addresses addresses(nullptr, freeaddrinfo);
  const int unresolved = Resolve(host, addresses);
  if (unresolved != 0) {
    return CannotListen(
        host, port, purpose,
        unresolved == EAI_SYSTEM ? Reason(errno) : gai_strerror(unresolved));
  }
  int error = 0;
  for (int i = 0; i < kFreePortTries; ++i) {
    BoundSockets bound;
    bound.port = port;
    error = BindAll(addresses.get(), bound);
    if (error == 0) return bound;
    if (port != 0 || error != EADDRINUSE) break;
  }
  // All addresses of a kernel without IPv6 are those of IPv4.
  if (host == "::" && error == EAFNOSUPPORT) {
    return BindTcp("0.0.0.0", port, purpose);
  }
  return CannotListen(host, port, purpose, Reason(error));
}

absl::Status CheckListen(const std::string& host, int port,
                         absl::string_view purpose) {
  if (!IsUnixSocket(host)) return BindTcp(host, port, purpose).status();
  const int error =
      CheckUnixSocket(std::string(absl::StripPrefix(host, kUnixPrefix)));
  if (error == 0) return absl::OkStatus();
  return CannotListen(host, port, purpose, Reason(error));
}

}  // namespace fff::base
