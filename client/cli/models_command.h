#pragma once

#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "absl/status/status.h"
#include "client/cli/global_options.h"
#include "fff/v1/inference.pb.h"

namespace fff::cli {

// "ready", "fff", "trained", ... : enumerations as tables print them.
std::string StateName(v1::ModelState state);
std::string ImplementationName(v1::Implementation implementation);
std::string DenseKindName(v1::DenseKind kind);

// What the server assumed of a loaded model, a line each: "assumed of NAME 1:
// ...". "" without any.
std::string AssumedLines(const v1::ModelSummary& model,
                         const std::vector<std::string>& assumed);

// `fffctl models`: every model of the server's repository.
struct ModelsCommand {
  bool json = false;
  bool wide = false;

  CLI::App* Register(CLI::App& app);
  absl::Status Run(const GlobalOptions& global) const;
};

}  // namespace fff::cli
