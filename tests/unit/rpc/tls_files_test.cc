#include "server/rpc/access/tls_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/rpc/test_certificates.h"
#include "tests/unit/serving/temp_repository.h"

namespace fff::rpc {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class TlsFilesTest : public ::testing::Test {
 protected:
  TlsFilesTest() {
    Write("cert.pem", server_.certificate);
    Write("key.pem", server_.key);
    Write("ca.pem", authority_.certificate);
  }
  void Write(const std::string& name, const std::string& text) {
    files_.AddFile(name, text);
  }
  std::string Path(const std::string& name) const {
    return (files_ / name).string();
  }
  TlsFiles Files() const {
    return {Path("cert.pem"), Path("key.pem"), Path("ca.pem")};
  }
  void ExpectRefused(const std::string& part) const {
    const absl::Status status = ReadTlsFiles(Files()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(part));
  }

  const TestIdentity authority_ = MakeAuthority("test authority");
  const TestIdentity server_ = MakeIdentity("server", authority_);
  serving::TempRepository files_;
};

TEST_F(TlsFilesTest, ReadsFilesThatFit) {
  const auto texts = ReadTlsFiles(Files());
  ASSERT_TRUE(texts.ok()) << texts.status();
  EXPECT_EQ(texts->certificate, server_.certificate);
  EXPECT_EQ(texts->key, server_.key);
  EXPECT_EQ(texts->client_ca, authority_.certificate);
  EXPECT_THAT(texts->description,
              AllOf(HasSubstr("CN=server"), HasSubstr("not_after=")));
}

TEST_F(TlsFilesTest, TakesAChainAndSeveralAuthorities) {
  Write("cert.pem", server_.certificate + authority_.certificate);
  Write("ca.pem",
        authority_.certificate + MakeAuthority("another").certificate);
  EXPECT_TRUE(ReadTlsFiles(Files()).ok());
}

TEST_F(TlsFilesTest, ClientAuthoritiesAreOptional) {
  TlsFiles files = Files();
  files.client_ca.clear();
  const auto texts = ReadTlsFiles(files);
  ASSERT_TRUE(texts.ok());
  EXPECT_EQ(texts->client_ca, "");
}

// What a rotation shows between its two writes.
TEST_F(TlsFilesTest, RefusesTheKeyOfAnotherCertificate) {
  Write("key.pem", MakeIdentity("server", authority_).key);
  ExpectRefused("key.pem: is not the key of the certificate");
}

TEST_F(TlsFilesTest, RefusesWhatIsNoPem) {
  Write("cert.pem", "no certificate");
  ExpectRefused("cert.pem: is not a text of PEM certificates");
  Write("cert.pem", server_.certificate.substr(0, 200));
  ExpectRefused("cert.pem: is not a text of PEM certificates");
  Write("cert.pem",
        server_.certificate + authority_.certificate.substr(0, 200));
  ExpectRefused("cert.pem: is not a text of PEM certificates");
  Write("cert.pem", server_.certificate);
  Write("key.pem", server_.certificate);
  ExpectRefused("key.pem: is not a PEM private key");
  Write("key.pem", server_.key);
  Write("ca.pem", server_.key);
  ExpectRefused("ca.pem: is not a text of PEM certificates");
}

TEST_F(TlsFilesTest, RefusesEmptyAndHugeFiles) {
  Write("cert.pem", "");
  ExpectRefused("cert.pem: is empty");
  Write("cert.pem", std::string((1 << 20) + 1, 'x'));
  ExpectRefused("cert.pem: is larger than 1 MiB");
}

TEST_F(TlsFilesTest, SaysWhichFileIsNotThere) {
  TlsFiles files = Files();
  files.key = "/nonexistent/key.pem";
  const absl::Status status = ReadTlsFiles(files).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("/nonexistent/key.pem: cannot be read"));
}

TEST_F(TlsFilesTest, TheIdentityChangesWithEachFile) {
  for (const char* name : {"cert.pem", "key.pem", "ca.pem"}) {
    const std::string before = TlsFilesIdentity(Files());
    EXPECT_EQ(TlsFilesIdentity(Files()), before);
    Write("new", "replaced");
    std::filesystem::rename(files_ / "new", files_ / name);
    EXPECT_NE(TlsFilesIdentity(Files()), before) << name;
  }
}

}  // namespace
}  // namespace fff::rpc
