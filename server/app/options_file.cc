#include "server/app/options_file.h"

#include <CLI/Config.hpp>
#include <algorithm>
#include <iterator>
#include <sstream>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/app/usage.h"
#include "server/base/log.h"
#include "server/base/near_match.h"

namespace fff::app {
namespace {

// Whether the line sets the key, or begins its section.
bool Begins(absl::string_view line, const CLI::ConfigItem& item) {
  line = absl::StripAsciiWhitespace(line);
  if (!item.parents.empty() && absl::ConsumePrefix(&line, "[")) {
    return absl::StartsWith(line, item.parents.front());
  }
  if (!absl::ConsumePrefix(&line, item.name)) return false;
  line = absl::StripLeadingAsciiWhitespace(line);
  return line.empty() || line.front() == '=' || line.front() == ':';
}

// "line 3: ", counted from 1; "" where the text does not show it.
std::string LineOf(const std::vector<std::string>& lines,
                   const CLI::ConfigItem& item) {
  for (size_t i = 0; i < lines.size(); ++i) {
    if (Begins(lines[i], item)) return absl::StrCat("line ", i + 1, ": ");
  }
  return "";
}

std::string FileOf(CLI::App* app) {
  const CLI::Option* file = app->get_config_ptr();
  if (file == nullptr || file->results().empty()) return "";
  return absl::StrCat(base::Printable(file->results().back()), ": ");
}

}  // namespace

std::vector<CLI::ConfigItem> OptionsFile::from_config(
    std::istream& input) const {
  const std::string text{std::istreambuf_iterator<char>(input), {}};
  std::istringstream stream(text);
  std::vector<CLI::ConfigItem> parsed = CLI::ConfigTOML::from_config(stream);
  std::vector<std::string> known;
  for (const std::string& name : OptionNames(*app_)) {
    known.emplace_back(absl::StripPrefix(name, "--"));
  }
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  std::vector<std::string> faults;
  for (const CLI::ConfigItem& item : parsed) {
    const std::string where = absl::StrCat(FileOf(app_), LineOf(lines, item));
    if (!item.parents.empty()) {
      // CLI11 adds items for the begin and the end of a section.
      if (item.name != "++") continue;
      faults.push_back(
          absl::StrCat(where, "there are no sections, got [",
                       base::Printable(absl::StrJoin(item.parents, ".")), "]"));
    } else if (std::find(known.begin(), known.end(), item.name) ==
               known.end()) {
      faults.push_back(absl::StrCat(where, "key ", base::Printable(item.name),
                                    " is no option",
                                    base::DidYouMean(item.name, known)));
    }
  }
  if (!faults.empty()) {
    throw CLI::ConfigError(absl::StrJoin(faults, "\n"),
                           CLI::ExitCodes::ConfigError);
  }
  return parsed;
}

}  // namespace fff::app
