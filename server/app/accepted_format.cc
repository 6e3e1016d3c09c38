#include "server/app/accepted_format.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace fff::app {
namespace {

// One entry of the list: "text/plain;version=0.0.4;q=0.5".
struct MediaRange {
  absl::string_view type;
  absl::string_view version;
  double weight = 1;
};

MediaRange ParseRange(absl::string_view entry) {
  const std::vector<absl::string_view> parts = absl::StrSplit(entry, ';');
  MediaRange range;
  range.type = absl::StripAsciiWhitespace(parts.front());
  for (size_t i = 1; i < parts.size(); ++i) {
    const std::pair<absl::string_view, absl::string_view> halves =
        absl::StrSplit(parts[i], absl::MaxSplits('=', 1));
    const absl::string_view key = absl::StripAsciiWhitespace(halves.first);
    const absl::string_view value = absl::StripAsciiWhitespace(halves.second);
    if (absl::EqualsIgnoreCase(key, "version")) range.version = value;
    // What is no number weighs nothing.
    if (absl::EqualsIgnoreCase(key, "q") &&
        !absl::SimpleAtod(value, &range.weight)) {
      range.weight = 0;
    }
  }
  return range;
}

}  // namespace

metrics::TextFormat AcceptedFormat(absl::string_view accept) {
  double open_metrics = 0;
  double text = 0;
  for (const absl::string_view entry : absl::StrSplit(accept, ',')) {
    const MediaRange range = ParseRange(entry);
    if (absl::EqualsIgnoreCase(range.type, "application/openmetrics-text")) {
      if (range.version.empty() || range.version == "1.0.0") {
        open_metrics = std::max(open_metrics, range.weight);
      }
    } else if (absl::EqualsIgnoreCase(range.type, "text/plain")) {
      text = std::max(text, range.weight);
    }
  }
  return open_metrics > 0 && open_metrics >= text
             ? metrics::TextFormat::kOpenMetrics
             : metrics::TextFormat::kPrometheus;
}

}  // namespace fff::app
