#include "client/cli/screen/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace fff::cli {
namespace {

// Begins a character of UTF-8.
bool Begins(char byte) {
  return (static_cast<unsigned char>(byte) & 0xc0) != 0x80;
}

std::string Cut(absl::string_view line, int columns) {
  int characters = 0;
  size_t last = 0;  // where the last character that may stay begins
  for (size_t i = 0; i < line.size(); ++i) {
    if (!Begins(line[i])) continue;
    if (++characters == columns) last = i;
    if (characters > columns) {
      return std::string(line.substr(0, last)) + "…";
    }
  }
  return std::string(line);
}

}  // namespace

int OutputColumns() {
  if (isatty(STDOUT_FILENO) == 0) return 0;
  int columns = 0;
  const char* said = std::getenv("COLUMNS");
  if (said != nullptr && absl::SimpleAtoi(said, &columns) && columns > 0) {
    return columns;
  }
  winsize size = {};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return 0;
  return size.ws_col;
}

std::string CutLines(absl::string_view text, int columns) {
  if (columns <= 0) return std::string(text);
  std::vector<std::string> lines;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    lines.push_back(Cut(line, columns));
  }
  return absl::StrJoin(lines, "\n");
}

}  // namespace fff::cli
