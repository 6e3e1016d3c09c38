#pragma once

#include <cstdint>
#include <string>

#include "CLI/App.hpp"
#include "absl/status/status.h"
#include "client/cli/global_options.h"

namespace fff::cli {

// `fffctl load MODEL`: loads a model from the server's repository as it is now,
// and prints what is served of it afterwards.
struct LoadCommand {
  std::string model;
  int64_t version = 0;

  CLI::App* Register(CLI::App& app);
  absl::Status Run(const GlobalOptions& global) const;
};

// `fffctl unload MODEL`: takes it out of service until it is loaded again.
struct UnloadCommand {
  std::string model;
  int64_t version = 0;

  CLI::App* Register(CLI::App& app);
  absl::Status Run(const GlobalOptions& global) const;
};

}  // namespace fff::cli
