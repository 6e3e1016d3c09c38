#pragma once

#include "CLI/App.hpp"
#include "absl/status/status.h"
#include "client/cli/global_options.h"

namespace fff::cli {

// `fffctl status`: is the server healthy, what does it serve, and which kernel
// serves which batch size, and why.
struct StatusCommand {
  bool json = false;
  bool wide = false;

  CLI::App* Register(CLI::App& app);
  absl::Status Run(const GlobalOptions& global) const;
};

}  // namespace fff::cli
