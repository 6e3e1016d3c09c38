#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

// A strict reader of the Prometheus text format (version 0.0.4), so that tests
// look at what a scraper would see and not at substrings.
namespace fff::metrics {

struct Sample {
  std::string name;  // with _bucket, _sum or _count
  std::vector<std::pair<std::string, std::string>> labels;  // unescaped
  double value = 0;

  // Value of label `key`; "" when it is absent.
  std::string Label(absl::string_view key) const;
};

struct Family {
  std::string help;
  std::string type;
  std::vector<Sample> samples;
};

// Families by name. Adds a test failure for every line that the format does not
// allow, for a sample before its TYPE line and for a family that comes twice.
std::map<std::string, Family> ParseExposition(absl::string_view text);

// The sample of `family` named `sample` whose labels include all of `labels`;
// null when there is none. More than one match is a test failure.
const Sample* FindSample(
    const std::map<std::string, Family>& families, const std::string& family,
    const std::string& sample,
    const std::vector<std::pair<std::string, std::string>>& labels);

// The value of the one sample of a counter or gauge; NaN and a test failure
// when there is none.
double ValueOf(const std::map<std::string, Family>& families,
               const std::string& family,
               const std::vector<std::pair<std::string, std::string>>& labels);

}  // namespace fff::metrics
