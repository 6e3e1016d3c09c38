#include "client/cli/global_options.h"

#include <map>

#include "CLI/Config.hpp"     // defines what App.hpp declares,
#include "CLI/Formatter.hpp"  // once for this library
#include "CLI/Option.hpp"
#include "CLI/Validators.hpp"
#include "absl/strings/ascii.h"
#include "absl/time/time.h"
#include "client/cli/rows/read_file.h"
#include "server/base/status_macros.h"

namespace fff::cli {
namespace {

absl::Status ReadInto(const std::string& path, std::string* text) {
  if (path.empty()) return absl::OkStatus();
  FFF_ASSIGN_OR_RETURN(*text, ReadFile(path));
  return absl::OkStatus();
}

}  // namespace

void AddGlobalOptions(CLI::App& app, GlobalOptions& options) {
  app.add_option("--server", options.server, "The server's HOST:PORT")
      ->envname("FFF_SERVER")
      ->capture_default_str();
  app.add_option("--timeout", options.timeout_s,
                 "Deadline of one call, seconds; a benchmark has none")
      ->transform(CLI::AsNumberWithUnit(
          std::map<std::string, double>{{"s", 1}, {"ms", 1e-3}}))
      ->check(CLI::Range(0.001, 86400.0))
      ->capture_default_str();
  app.add_flag("--tls", options.tls, "Encrypt the connection");
  app.add_option("--tls-ca", options.tls_ca,
                 "Authorities (PEM) to check the server against")
      ->check(CLI::ExistingFile);
  app.add_option("--tls-cert", options.tls_cert, "Own certificate (PEM)")
      ->check(CLI::ExistingFile);
  app.add_option("--tls-key", options.tls_key, "Key of --tls-cert (PEM)")
      ->check(CLI::ExistingFile);
  app.add_option("--token-file", options.token_file,
                 "File with the admin token, for load, unload and benchmark")
      ->check(CLI::ExistingFile)
      ->envname("FFF_TOKEN_FILE");
}

absl::StatusOr<std::unique_ptr<client::Client>> Connect(
    const GlobalOptions& options) {
  client::ConnectOptions connect;
  connect.timeout = absl::Seconds(options.timeout_s);
  connect.tls = options.tls || !options.tls_ca.empty();
  FFF_RETURN_IF_ERROR(ReadInto(options.tls_ca, &connect.ca_pem));
  FFF_RETURN_IF_ERROR(ReadInto(options.tls_cert, &connect.certificate_pem));
  FFF_RETURN_IF_ERROR(ReadInto(options.tls_key, &connect.key_pem));
  FFF_RETURN_IF_ERROR(ReadInto(options.token_file, &connect.admin_token));
  absl::StripAsciiWhitespace(&connect.admin_token);
  return client::Client::Connect(options.server, connect);
}

}  // namespace fff::cli
