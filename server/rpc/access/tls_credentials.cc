#include "server/rpc/access/tls_credentials.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "server/base/log.h"

// gRPC 1.51 reloads server certificates in two ways. The C++ one, a provider
// that watches files, drops its working certificate before it tries the new
// one: between the writing of a certificate and of its key every handshake
// fails. The C one, used here, asks a callback at every handshake and keeps
// what works.
namespace fff::rpc {
namespace {

class TlsCredentials final : public grpc::ServerCredentials {
 public:
  explicit TlsCredentials(const TlsFiles& files) : files_(files) {
    const auto request =
        files.client_ca.empty()
            ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
            : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY;
    credentials_ = grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(
            request, &TlsCredentials::Fetch, this));
  }
  ~TlsCredentials() override { grpc_server_credentials_release(credentials_); }
  TlsCredentials(const TlsCredentials&) = delete;
  TlsCredentials& operator=(const TlsCredentials&) = delete;

  // Callers are checked a call at a time (admin_access.h).
  void SetAuthMetadataProcessor(
      const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address,
                      grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  // Called by gRPC at the start and at every handshake, on any of its threads.
  static grpc_ssl_certificate_config_reload_status Fetch(
      void* self, grpc_ssl_server_certificate_config** config) {
    return static_cast<TlsCredentials*>(self)->Reload(config);
  }

  grpc_ssl_certificate_config_reload_status Reload(
      grpc_ssl_server_certificate_config** config) {
    absl::MutexLock lock(&mutex_);
    std::string found = TlsFilesIdentity(files_);
    if (found == seen_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    const bool first = seen_.empty();
    seen_ = std::move(found);
    const absl::StatusOr<TlsTexts> texts = ReadTlsFiles(files_);
    if (!texts.ok()) {
      base::LogError(
          absl::StrCat("TLS files cannot be used: ", texts.status().message(),
                       first ? "" : "; the ones before stay"));
      return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
    }
    const grpc_ssl_pem_key_cert_pair pair = {texts->key.c_str(),
                                             texts->certificate.c_str()};
    // gRPC 1.51 wants authorities even where clients are asked for nothing;
    // then it never looks at them.
    const std::string& authorities =
        texts->client_ca.empty() ? texts->certificate : texts->client_ca;
    *config = grpc_ssl_server_certificate_config_create(authorities.c_str(),
                                                        &pair, 1);
    base::LogInfo(absl::StrCat("TLS certificate ",
                               first ? "loaded " : "replaced ",
                               texts->description));
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  const TlsFiles files_;
  grpc_server_credentials* credentials_;
  absl::Mutex mutex_;
  std::string seen_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::shared_ptr<grpc::ServerCredentials> ReloadingTlsCredentials(
    const TlsFiles& files) {
  return std::make_shared<TlsCredentials>(files);
}

}  // namespace fff::rpc
