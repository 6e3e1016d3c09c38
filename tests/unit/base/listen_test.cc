#include "server/base/listen.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"

namespace fff::base {
namespace {

using ::testing::HasSubstr;

// A socket that listens.
Socket Listening(BoundSockets& bound) {
  Socket socket(bound.sockets.front().socket.Release());
  EXPECT_EQ(listen(socket.fd(), 1), 0);
  return socket;
}

std::string MessageOf(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  return std::string(status.message());
}

std::string SocketPath(const std::string& name) {
  return absl::StrCat(::testing::TempDir(), "/fff_", getpid(), "_", name);
}

TEST(HostPort, PutsIpv6InBrackets) {
  EXPECT_EQ(HostPort("127.0.0.1", 8001), "127.0.0.1:8001");
  EXPECT_EQ(HostPort("::1", 8001), "[::1]:8001");
  EXPECT_EQ(HostPort("::", 0), "[::]:0");
  EXPECT_EQ(HostPort("localhost", 1), "localhost:1");
  EXPECT_EQ(HostPort("unix:/run/fff.sock", 8001), "unix:/run/fff.sock");
}

TEST(BindTcp, PicksAFreePortForAllAddressesOfAName) {
  for (const char* host : {"127.0.0.1", "localhost", "0.0.0.0"}) {
    const auto bound = BindTcp(host, 0, "tests");
    ASSERT_TRUE(bound.ok()) << bound.status();
    EXPECT_GT(bound->port, 0);
    for (const BoundSocket& one : bound->sockets) {
      sockaddr_in6 address = {};  // the port stands where that of IPv4 does
      socklen_t size = sizeof(address);
      getsockname(one.socket.fd(), reinterpret_cast<sockaddr*>(&address),
                  &size);
      EXPECT_EQ(ntohs(address.sin6_port), bound->port) << host;
    }
  }
}

TEST(BindTcp, TheIpv6WildcardTakesIpv4Too) {
  auto bound = BindTcp("::", 0, "tests");
  ASSERT_TRUE(bound.ok()) << bound.status();
  const Socket server = Listening(*bound);
  const Socket client(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(bound->port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(client.fd(), reinterpret_cast<const sockaddr*>(&address),
                    sizeof(address)),
            0);
}

TEST(BindTcp, SaysWhatTheSystemSaid) {
  auto first = BindTcp("127.0.0.1", 0, "tests");
  ASSERT_TRUE(first.ok()) << first.status();
  const int port = first->port;
  const Socket server = Listening(*first);
  EXPECT_EQ(MessageOf(BindTcp("127.0.0.1", port, "HTTP").status()),
            absl::StrCat("cannot listen on 127.0.0.1:", port,
                         " for HTTP: Address already in use"));
  // One address of several in use is no port for the others.
  EXPECT_THAT(MessageOf(BindTcp("localhost", port, "HTTP").status()),
              HasSubstr("Address already in use"));
  EXPECT_THAT(MessageOf(BindTcp("::", port, "HTTP").status()),
              HasSubstr("Address already in use"));
  EXPECT_EQ(MessageOf(BindTcp("192.0.2.1", 0, "gRPC").status()),
            "cannot listen on 192.0.2.1:0 for gRPC: Cannot assign requested "
            "address");
  EXPECT_EQ(MessageOf(BindTcp("2001:db8::1", 7, "gRPC").status()),
            "cannot listen on [2001:db8::1]:7 for gRPC: Cannot assign "
            "requested address");
}

TEST(BindTcp, SaysThatANameIsUnknown) {
  EXPECT_THAT(MessageOf(BindTcp("no host", 1, "HTTP").status()),
              HasSubstr("cannot listen on no host:1 for HTTP: "));
}

TEST(CheckListen, LetsGoOfThePort) {
  const auto bound = BindTcp("127.0.0.1", 0, "tests");
  ASSERT_TRUE(bound.ok()) << bound.status();
  EXPECT_TRUE(CheckListen("::1", 0, "tests").ok());
  EXPECT_TRUE(CheckListen("127.0.0.1", 0, "tests").ok());
}

TEST(CheckListen, AUnixSocketIsFreeWhenNobodyListens) {
  const std::string path = SocketPath("free");
  const std::string host = absl::StrCat("unix:", path);
  ASSERT_TRUE(CheckListen(host, 0, "gRPC").ok());
  struct stat info;
  EXPECT_NE(stat(path.c_str(), &info), 0) << "it leaves nothing behind";
}

TEST(CheckListen, AUnixSocketSaysWhatTheSystemSaid) {
  const std::string file = SocketPath("file");
  std::ofstream(file) << "x";
  EXPECT_EQ(MessageOf(CheckListen(absl::StrCat("unix:", file), 0, "gRPC")),
            absl::StrCat("cannot listen on unix:", file,
                         " for gRPC: Address already in use"));
  struct stat info;
  EXPECT_EQ(stat(file.c_str(), &info), 0) << "the file stays";
  unlink(file.c_str());
  EXPECT_THAT(MessageOf(CheckListen("unix:/nowhere/x", 0, "gRPC")),
              HasSubstr("No such file or directory"));
  EXPECT_THAT(MessageOf(CheckListen(
                  absl::StrCat("unix:/", std::string(200, 'x')), 0, "gRPC")),
              HasSubstr("File name too long"));
}

}  // namespace
}  // namespace fff::base
