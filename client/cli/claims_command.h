#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "absl/status/status.h"

namespace fff::cli {

// `fffctl claims`: runs published claims about fast feedforward networks again,
// in this process, and says what holds.
struct ClaimsCommand {
  bool quick = false;
  bool json = false;
  bool list = false;
  std::string html;
  std::string resume;
  std::vector<std::string> ids;  // empty = all
  uint64_t seed = 1;

  // Adds the sub-command to `app`; both must outlive the parsing.
  CLI::App* Register(CLI::App& app);
  // Prints to standard output, progress to standard error.
  absl::Status Run() const;
};

}  // namespace fff::cli
