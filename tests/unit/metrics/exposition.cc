#include "tests/unit/metrics/exposition.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace fff::metrics {
namespace {

using Families = std::map<std::string, Family>;
using Labels = std::vector<std::pair<std::string, std::string>>;

bool ValidName(absl::string_view name) {
  return !name.empty() &&
         !absl::ascii_isdigit(static_cast<unsigned char>(name[0])) &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return absl::ascii_isalnum(c) || c == '_' || c == ':';
         });
}

// The family a sample belongs to: histograms add an ending to their name.
std::string FamilyOf(const Families& families, const std::string& sample) {
  for (const absl::string_view ending : {"", "_bucket", "_sum", "_count"}) {
    absl::string_view name = sample;
    if (!absl::ConsumeSuffix(&name, ending)) continue;
    const auto found = families.find(std::string(name));
    if (found == families.end()) continue;
    if (ending.empty() || found->second.type == "histogram") {
      return found->first;
    }
  }
  return "";
}

// Consumes `key="value",...}`; backslash escapes are \\, \" and \n only.
bool ConsumeLabels(absl::string_view& rest, Labels& labels) {
  while (!absl::ConsumePrefix(&rest, "}")) {
    if (!labels.empty() && !absl::ConsumePrefix(&rest, ",")) return false;
    const size_t equals = rest.find("=\"");
    if (equals == absl::string_view::npos) return false;
    std::pair<std::string, std::string> label(rest.substr(0, equals), "");
    if (!ValidName(label.first)) return false;
    rest.remove_prefix(equals + 2);
    while (!rest.empty() && rest[0] != '"') {
      char c = rest[0];
      if (c == '\\') {
        rest.remove_prefix(1);
        if (rest.empty() || !absl::StrContains("\\\"n", rest.substr(0, 1))) {
          return false;
        }
        c = rest[0] == 'n' ? '\n' : rest[0];
      }
      label.second.push_back(c);
      rest.remove_prefix(1);
    }
    if (!absl::ConsumePrefix(&rest, "\"")) return false;
    labels.push_back(std::move(label));
  }
  return true;
}

bool ParseSample(absl::string_view line, Sample& sample) {
  const size_t end = line.find_first_of("{ ");
  if (end == absl::string_view::npos) return false;
  sample.name = std::string(line.substr(0, end));
  line.remove_prefix(end);
  if (absl::ConsumePrefix(&line, "{") && !ConsumeLabels(line, sample.labels)) {
    return false;
  }
  return ValidName(sample.name) && absl::ConsumePrefix(&line, " ") &&
         absl::SimpleAtod(line, &sample.value);
}

// "# HELP name text" and "# TYPE name type".
bool ParseComment(absl::string_view line, Families& families) {
  const std::vector<std::string> parts =
      absl::StrSplit(line, absl::MaxSplits(' ', 3));
  if (parts.size() != 4 || !ValidName(parts[2])) return false;
  Family& family = families[parts[2]];
  std::string* field = parts[1] == "HELP"   ? &family.help
                       : parts[1] == "TYPE" ? &family.type
                                            : nullptr;
  if (field == nullptr || !field->empty() || !family.samples.empty()) {
    return false;
  }
  *field = parts[3];
  return true;
}

bool Includes(const Labels& labels, const Labels& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const auto& label) {
    return std::count(labels.begin(), labels.end(), label) == 1;
  });
}

}  // namespace

std::string Sample::Label(absl::string_view key) const {
  for (const auto& label : labels) {
    if (label.first == key) return label.second;
  }
  return "";
}

Families ParseExposition(absl::string_view text) {
  Families families;
  EXPECT_TRUE(absl::EndsWith(text, "\n"));
  for (const absl::string_view line :
       absl::StrSplit(absl::StripSuffix(text, "\n"), '\n')) {
    if (absl::StartsWith(line, "#")) {
      EXPECT_TRUE(ParseComment(line, families)) << line;
      continue;
    }
    Sample sample;
    const bool parsed = ParseSample(line, sample);
    EXPECT_TRUE(parsed) << line;
    const std::string family = FamilyOf(families, sample.name);
    EXPECT_NE(family, "") << "no TYPE before: " << line;
    if (parsed && !family.empty()) {
      families[family].samples.push_back(std::move(sample));
    }
  }
  return families;
}

const Sample* FindSample(const Families& families, const std::string& family,
                         const std::string& sample, const Labels& labels) {
  const auto found = families.find(family);
  if (found == families.end()) return nullptr;
  const Sample* match = nullptr;
  for (const Sample& candidate : found->second.samples) {
    if (candidate.name != sample || !Includes(candidate.labels, labels)) {
      continue;
    }
    EXPECT_EQ(match, nullptr) << sample << " matches twice";
    match = &candidate;
  }
  return match;
}

double ValueOf(const Families& families, const std::string& family,
               const Labels& labels) {
  const Sample* sample = FindSample(families, family, family, labels);
  EXPECT_NE(sample, nullptr) << family;
  return sample == nullptr ? std::numeric_limits<double>::quiet_NaN()
                           : sample->value;
}

}  // namespace fff::metrics
