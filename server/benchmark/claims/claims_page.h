#pragma once

#include "absl/strings/string_view.h"

namespace fff::benchmark {

// The page of a claims report, built from page/: one HTML document (UTF-8) with
// its style, scripts and the chart library inside. "@claims@" stands where the
// report's JSON goes.
absl::string_view ClaimsPage();

}  // namespace fff::benchmark
