#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "absl/status/status.h"
#include "client/cli/global_options.h"

namespace fff::cli {

// `fffctl benchmark`: FFF against dense by batch size, on a server or, for the
// built-in cases, in this process. On a server also with the user's own rows.
struct BenchmarkCommand {
  std::string model;
  int64_t version = 0;
  std::vector<int64_t> rows;  // empty = the server's or the case's own
  double seconds = 0.5;
  int threads = 1;
  uint64_t seed = 1;
  bool json = false;
  std::string svg;
  std::vector<std::string> data;  // [NAME=]FILE[:KEY]
  std::string truth;              // FILE[:KEY]
  std::string normalize;
  int64_t limit = 0;
  bool recommend = false;
  bool in_process = false;
  std::string case_name;
  std::vector<int64_t> depths;  // not empty: a sweep over training widths
  bool list_cases = false;
  bool cold = false;
  bool twin_only = false;
  int64_t tune_budget_ms = 100;
  std::string engine;     // "" = the case's own
  std::string precision;  // likewise

  // Adds the sub-command to `app`; both must outlive the parsing.
  CLI::App* Register(CLI::App& app);
  // Prints to standard output, progress to standard error.
  absl::Status Run(const GlobalOptions& global) const;

 private:
  void AddDataOptions(CLI::App* sub);
  absl::Status RunOnData(const GlobalOptions& global) const;
};

}  // namespace fff::cli
