#include "server/base/near_match.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/base/log.h"

namespace fff::base {
namespace {

constexpr size_t kLengthMax = 128;  // longer texts are near to nothing

// The optimal string alignment distance.
size_t EditsBetween(absl::string_view a, absl::string_view b) {
  std::vector<size_t> before(b.size() + 1);
  std::vector<size_t> last(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1,
                         last[j - 1] + (a[i - 1] == b[j - 1] ? 0u : 1u)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

bool IsPart(const std::string& text, const std::string& name) {
  const std::vector<std::string> parts =
      absl::StrSplit(name, absl::ByAnyChar("-_."));
  return std::find(parts.begin(), parts.end(), text) != parts.end();
}

}  // namespace

std::vector<std::string> NearMatches(absl::string_view text,
                                     absl::Span<const std::string> names) {
  std::vector<std::string> near;
  if (text.empty() || text.size() > kLengthMax) return near;
  const std::string lower = absl::AsciiStrToLower(text);
  size_t fewest = std::max<size_t>(1, text.size() / 3);
  for (const std::string& name : names) {
    if (name.size() > kLengthMax) continue;
    const size_t edits = EditsBetween(lower, absl::AsciiStrToLower(name));
    if (edits > fewest || edits >= name.size()) continue;
    if (edits < fewest) near.clear();
    fewest = edits;
    near.push_back(name);
  }
  if (!near.empty()) return near;
  for (const std::string& name : names) {
    if (IsPart(lower, absl::AsciiStrToLower(name))) near.push_back(name);
  }
  return near;
}

std::string DidYouMean(absl::string_view text,
                       absl::Span<const std::string> names) {
  constexpr size_t kShown = 3;
  std::vector<std::string> near = NearMatches(text, names);
  if (near.empty()) return "";
  near.resize(std::min(near.size(), kShown));
  return absl::StrCat("; did you mean \"", absl::StrJoin(near, "\" or \""),
                      "\"?");
}

std::string ExplainUnexpected(absl::Span<const std::string> unexpected,
                              absl::Span<const std::string> known) {
  const auto is_option = [](const std::string& word) {
    return word.size() > 1 && word[0] == '-';
  };
  const bool options =
      std::any_of(unexpected.begin(), unexpected.end(), is_option);
  std::string lines;
  for (const std::string& word : unexpected) {
    if (is_option(word) != options) continue;
    const std::string name = word.substr(0, word.find('='));
    const absl::string_view bare = absl::StripPrefix(name, "--");
    std::vector<std::string> names;
    for (const std::string& one : known) {
      names.emplace_back(absl::StripPrefix(one, "--"));
    }
    std::vector<std::string> near = NearMatches(bare, names);
    for (std::string& one : near) {
      if (options) one.insert(0, "--");
    }
    absl::StrAppend(&lines, Printable(name), " is not known",
                    near.empty() ? "" : "; did you mean ",
                    absl::StrJoin(near, " or "), near.empty() ? "" : "?", "\n");
    if (!options) break;  // what follows belongs to it
  }
  return lines;
}

}  // namespace fff::base
