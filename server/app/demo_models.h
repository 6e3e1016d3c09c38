#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace fff::app {

// The model repository that is installed with the program, by --demo:
// ../share/fff-serving/models from the folder of the executable. A build tree
// has the same layout. Does not look whether it is there.
std::string DemoRepository();

// A command that asks the demo model of `server` (HOST:PORT) about the sample
// images beside that repository, quoted for a shell.
std::string DemoCommand(absl::string_view server);

}  // namespace fff::app
