#include "server/app/http_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace fff::app {
namespace {

using ::testing::HasSubstr;
using State = HttpRequestReader::State;

constexpr char kGet[] = "GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n";

TEST(HttpRequestReader, ReadsMethodAndTarget) {
  HttpRequestReader reader;
  ASSERT_EQ(reader.Read(kGet), State::kDone);
  EXPECT_EQ(reader.request().method, "GET");
  EXPECT_EQ(reader.request().target, "/metrics?x=1");
}

TEST(HttpRequestReader, JoinsTheAcceptFields) {
  HttpRequestReader none;
  ASSERT_EQ(none.Read(kGet), State::kDone);
  EXPECT_EQ(none.request().accept, "");
  HttpRequestReader two;
  ASSERT_EQ(two.Read("GET / HTTP/1.1\r\nAccept: a/b;q=0.5\r\nHost: a\r\n"
                     "accept: c/d\r\n\r\n"),
            State::kDone);
  EXPECT_EQ(two.request().accept, "a/b;q=0.5, c/d");
}

TEST(HttpRequestReader, ReadsByteByByte) {
  HttpRequestReader reader;
  const std::string bytes = kGet;
  for (size_t i = 0; i + 1 < bytes.size(); ++i) {
    ASSERT_EQ(reader.Read(bytes.substr(i, 1)), State::kMore) << i;
  }
  ASSERT_EQ(reader.Read("\n"), State::kDone);
  EXPECT_EQ(reader.request().target, "/metrics?x=1");
}

TEST(HttpRequestReader, TakesAnyMethodAndLeavesTheBody) {
  for (const char* rest : {"Content-Length: 99999999999\r\n\r\n",
                           "Transfer-Encoding: chunked\r\n\r\n5\r\nhello",
                           "Content-Length: 5\r\n\r\nhello"}) {
    for (const char* method : {"POST", "BREW", "OPTIONS"}) {
      HttpRequestReader reader;
      ASSERT_EQ(
          reader.Read(absl::StrCat(method, " / HTTP/1.1\r\nHost: a\r\n", rest)),
          State::kDone)
          << rest << reader.error();
      EXPECT_EQ(reader.request().method, method);
    }
  }
}

TEST(HttpRequestReader, OldClientsNameNoHost) {
  HttpRequestReader reader;
  EXPECT_EQ(reader.Read("GET / HTTP/1.0\r\n\r\n"), State::kDone);
}

TEST(HttpRequestReader, BadRequests) {
  for (const char* bytes :
       {"GET / HTTP/1.1\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/2.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost a\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"}) {
    HttpRequestReader reader;
    EXPECT_EQ(reader.Read(bytes), State::kBad) << bytes;
    EXPECT_THAT(reader.error(), HasSubstr("bad request: ")) << bytes;
  }
}

TEST(HttpRequestReader, TellsATlsClientAtItsFirstByte) {
  HttpRequestReader reader;
  EXPECT_EQ(reader.Read("\x16"), State::kBad);
  EXPECT_THAT(reader.error(), HasSubstr("plain HTTP"));
}

TEST(HttpRequestReader, TooLargeHeads) {
  const std::string field = "x: " + std::string(100, 'y') + "\r\n";
  std::string many = "GET / HTTP/1.1\r\nHost: a\r\n";
  while (many.size() < HttpRequestReader::kHeadBytesMax) many += field;
  for (const std::string& bytes :
       {many, "GET /" + std::string(100000, 'x') + " HTTP/1.1\r\n\r\n",
        std::string(HttpRequestReader::kHeadBytesMax, 'G')}) {
    for (const size_t step : {bytes.size(), size_t{1000}, size_t{1}}) {
      HttpRequestReader reader;
      State state = State::kMore;
      for (size_t i = 0; state == State::kMore && i < bytes.size(); i += step) {
        state = reader.Read(bytes.substr(i, step));
      }
      EXPECT_EQ(state, State::kTooLarge) << step << bytes.substr(0, 20);
      EXPECT_THAT(reader.error(), HasSubstr("more than 8192 bytes"));
    }
  }
}

}  // namespace
}  // namespace fff::app
