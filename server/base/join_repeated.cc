#include "server/base/join_repeated.h"

#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace fff::base {
namespace {

constexpr size_t kPartsMin = 4;  // that a repetition replaces

struct Repetition {
  size_t length = 1;  // parts
  size_t times = 1;
};

size_t TimesInARow(absl::Span<const std::string> parts, size_t length) {
  size_t times = 1;
  while ((times + 1) * length <= parts.size() &&
         parts.subspan(times * length, length) == parts.first(length)) {
    ++times;
  }
  return times;
}

// The one at the front that replaces most parts, the shortest of equals.
Repetition Longest(absl::Span<const std::string> parts) {
  Repetition longest;
  for (size_t length = 1; 2 * length <= parts.size(); ++length) {
    const size_t times = TimesInARow(parts, length);
    if (times > 1 && times * length >= kPartsMin &&
        times * length > longest.times * longest.length) {
      longest = {length, times};
    }
  }
  return longest;
}

}  // namespace

std::string JoinRepeated(absl::Span<const std::string> parts,
                         absl::string_view separator) {
  std::string text;
  for (size_t at = 0; at < parts.size();) {
    const Repetition found = Longest(parts.subspan(at));
    if (at > 0) absl::StrAppend(&text, separator);
    if (found.times == 1) {
      absl::StrAppend(&text, parts[at]);
    } else {
      absl::StrAppend(&text, found.times, " x (",
                      absl::StrJoin(parts.subspan(at, found.length), separator),
                      ")");
    }
    at += found.times * found.length;
  }
  return text;
}

}  // namespace fff::base
