#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace fff::cli {

// How many characters a line of standard output holds, where that is a
// terminal: what the variable COLUMNS says, else the terminal. 0 for a pipe or
// a file, whose readers want everything. COLUMNS alone says nothing of those:
// readline, also of Python, sets it for every child.
int OutputColumns();

// `text` with every line cut to that many characters of UTF-8, the last of
// which is then "…". 0 columns cut nothing.
std::string CutLines(absl::string_view text, int columns);

}  // namespace fff::cli
