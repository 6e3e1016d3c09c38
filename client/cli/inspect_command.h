#pragma once

#include <string>

#include "CLI/App.hpp"
#include "absl/status/status.h"

namespace fff::cli {

// `fffctl inspect FILE`: what a checkpoint holds, which conventions its layers
// fit, and a config.json to begin with. Asks no server and runs nothing of the
// file.
struct InspectCommand {
  std::string file;
  std::string entry;   // of a torch archive; "" = the one that is meant
  std::string output;  // where the draft goes, too; "" = nowhere else

  CLI::App* Register(CLI::App& app);
  absl::Status Run() const;
};

}  // namespace fff::cli
