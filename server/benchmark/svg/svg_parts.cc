#include "server/benchmark/svg/svg_parts.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace fff::benchmark {

const absl::string_view kSvgStyle = R"(<style>
text{font:13px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#1f2328}
.title{font-size:17px;font-weight:600}.soft{fill:#59636e;font-size:12px}
.strong{font-weight:600;font-size:12px}
.bg{fill:#fff}.grid{stroke:#d1d9e0;stroke-width:1}.axis{stroke:#59636e}
.fff{stroke:#1d4ed8;fill:none;stroke-width:2.5}.fffdot{fill:#1d4ed8}
.dense{stroke:#c2410c;fill:none;stroke-width:2.5}.densedot{fill:#c2410c}
.other{stroke:#7c3aed;fill:none;stroke-width:2.5}.otherdot{fill:#7c3aed}
.band{stroke:none;opacity:.18}
.bound{stroke:#59636e;fill:none;stroke-width:1.5;stroke-dasharray:6 4}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.soft{fill:#9aa4af}
.bg{fill:#0d1117}.grid{stroke:#2d333b}.axis{stroke:#9aa4af}
.fff{stroke:#79a8ff}.fffdot{fill:#79a8ff}
.dense{stroke:#ff9b5e}.densedot{fill:#ff9b5e}
.other{stroke:#b79cff}.otherdot{fill:#b79cff}.bound{stroke:#9aa4af}}
</style>
)";

std::string SvgEscape(absl::string_view text) {
  std::string clean;
  for (const char c : text) {
    clean += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  }
  return absl::StrReplaceAll(
      clean, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

std::string SvgText(double x, double y, absl::string_view attributes,
                    absl::string_view text) {
  return absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" %s>%s</text>\n", x, y,
                         attributes, SvgEscape(text));
}

std::string SvgLine(absl::string_view css, double x1, double y1, double x2,
                    double y2) {
  return absl::StrFormat(
      "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" "
      "x2=\"%.1f\" y2=\"%.1f\"/>\n",
      css, x1, y1, x2, y2);
}

std::string SvgMarker(absl::string_view css, double x, double y) {
  if (css == "fff") {
    return absl::StrFormat(
        "<circle class=\"fffdot\" cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\"/>\n", x, y);
  }
  if (css == "dense") {
    return absl::StrFormat(
        "<rect class=\"densedot\" x=\"%.1f\" y=\"%.1f\" width=\"8\" "
        "height=\"8\"/>\n",
        x - 4, y - 4);
  }
  return absl::StrFormat(
      "<polygon class=\"otherdot\" points=\"%.1f,%.1f %.1f,%.1f %.1f,%.1f "
      "%.1f,%.1f\"/>\n",
      x, y - 5.5, x + 5.5, y, x, y + 5.5, x - 5.5, y);
}

std::string DecadeLabel(double seconds) {
  const int exponent = static_cast<int>(std::lround(std::log10(seconds)));
  const char* const units[] = {"ns", "µs", "ms", "s"};
  const int unit = std::clamp((exponent + 9) / 3, 0, 3);
  return absl::StrFormat("%g %s", std::pow(10, exponent + 9 - 3 * unit),
                         units[unit]);
}

}  // namespace fff::benchmark
