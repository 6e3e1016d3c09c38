#include "absl/strings/str_replace.h"
#include "server/benchmark/claims/claims_page.h"
#include "server/benchmark/claims/claims_report.h"

namespace fff::benchmark {

std::string ClaimsHtml(const ClaimsReport& report) {
  // "<" may not stand in a script element: "</script" ends it.
  const std::string json =
      absl::StrReplaceAll(ClaimsJson(report), {{"<", "\\u003c"}});
  return absl::StrReplaceAll(ClaimsPage(), {{"@claims@", json}});
}

}  // namespace fff::benchmark
