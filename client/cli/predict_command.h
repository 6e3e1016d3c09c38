#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "absl/status/status.h"
#include "client/cli/global_options.h"

namespace fff::cli {

// `fffctl predict`: sends the rows of files and prints what the model says.
struct PredictCommand {
  std::string model;
  int64_t version = 0;
  std::vector<std::string> inputs;  // [NAME=]FILE[:KEY]
  std::string truth;                // FILE[:KEY]
  std::string normalize;            // "" = by the file's kind
  std::string output;
  int64_t batch = 256;
  int64_t limit = 0;  // 0 = all
  int64_t show = 20;
  int64_t top_k = 0;  // 0 = all columns
  bool dense = false;
  bool routing = false;
  bool json = false;

  // Adds the sub-command to `app`; both must outlive the parsing.
  CLI::App* Register(CLI::App& app);
  // Prints to standard output. Errors carry the server's code, or
  // INVALID_ARGUMENT and the file's name.
  absl::Status Run(const GlobalOptions& global) const;
};

}  // namespace fff::cli
