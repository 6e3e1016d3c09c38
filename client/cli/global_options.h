#pragma once

#include <memory>
#include <string>

#include "CLI/App.hpp"
#include "absl/status/statusor.h"
#include "client/cpp/client.h"

namespace fff::cli {

// What every command that talks to a server needs.
struct GlobalOptions {
  std::string server = "127.0.0.1:8001";
  double timeout_s = 30;
  bool tls = false;
  std::string tls_ca;  // files
  std::string tls_cert;
  std::string tls_key;
  std::string token_file;
};

void AddGlobalOptions(CLI::App& app, GlobalOptions& options);

// Errors as Client::Connect, or a certificate file that cannot be read.
absl::StatusOr<std::unique_ptr<client::Client>> Connect(
    const GlobalOptions& options);

}  // namespace fff::cli
