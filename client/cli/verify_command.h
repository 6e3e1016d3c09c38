#pragma once

#include <string>

#include "CLI/App.hpp"
#include "absl/status/status.h"
#include "client/cli/global_options.h"

namespace fff::cli {

// `fffctl verify MODEL --example FILE`: asks a served model about the inputs of
// an example (server/docs/proof.md) and holds its answers against the
// example's. FAILED_PRECONDITION where they differ.
struct VerifyCommand {
  std::string model;
  int64_t version = 0;
  std::string example;
  double tolerance = 1e-4;  // share of the largest number of an output

  CLI::App* Register(CLI::App& app);
  absl::Status Run(const GlobalOptions& global) const;
};

}  // namespace fff::cli
