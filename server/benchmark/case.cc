#include "server/benchmark/case.h"

#include <functional>
#include <map>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "server/base/status_macros.h"
#include "server/benchmark/runner.h"
#include "server/graph/problem.h"

namespace fff::benchmark {
namespace {

constexpr absl::string_view kConventions[] = {
    "fastfeedforward", "ultrafastbert", "ultrafastbert-bmm", "sap-fff"};

absl::Status Integer(absl::string_view value, int64_t min, int64_t max,
                     int64_t* out) {
  int64_t parsed = 0;
  if (!absl::SimpleAtoi(value, &parsed) || parsed < min || parsed > max) {
    return absl::InvalidArgumentError(absl::StrCat(
        "got '", value, "', wanted a whole number from ", min, " to ", max));
  }
  *out = parsed;
  return absl::OkStatus();
}

absl::Status Convention(absl::string_view value, CaseSpec* spec) {
  for (const absl::string_view known : kConventions) {
    if (value == known) {
      spec->convention = std::string(value);
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "got '", value, "', wanted one of ", absl::StrJoin(kConventions, ", ")));
}

absl::Status Dense(absl::string_view value, CaseSpec* spec) {
  if (value == "neurons" || value == "linear") {
    spec->dense =
        value == "linear" ? DenseOpponent::kLinear : DenseOpponent::kNeurons;
    return absl::OkStatus();
  }
  const std::pair<absl::string_view, absl::string_view> words =
      absl::StrSplit(value, absl::MaxSplits(' ', 1));
  if (words.first != "width") {
    return absl::InvalidArgumentError(
        absl::StrCat("got '", value, "', wanted neurons, linear or width N"));
  }
  spec->dense = DenseOpponent::kWidth;
  return Integer(words.second, 1, graph::kWidthMax, &spec->dense_width);
}

absl::Status Rows(absl::string_view value, CaseSpec* spec) {
  spec->rows.clear();
  for (const absl::string_view word :
       absl::StrSplit(value, ' ', absl::SkipEmpty())) {
    int64_t rows = 0;
    FFF_RETURN_IF_ERROR(Integer(word, 1, kBatchRowsMax, &rows));
    spec->rows.push_back(rows);
  }
  if (spec->rows.empty() || spec->rows.size() > kBatchSizesMax) {
    return absl::InvalidArgumentError(absl::StrCat("got ", spec->rows.size(),
                                                   " batch sizes, wanted 1 to ",
                                                   kBatchSizesMax));
  }
  return absl::OkStatus();
}

absl::Status Engine(absl::string_view value, CaseSpec* spec) {
  if (value != "fff" && value != "auto") {
    return absl::InvalidArgumentError(
        absl::StrCat("got '", value, "', wanted fff or auto"));
  }
  spec->engine = value == "auto" ? importer::EngineChoice::kAuto
                                 : importer::EngineChoice::kFff;
  return absl::OkStatus();
}

absl::Status Precision(absl::string_view value, CaseSpec* spec) {
  for (const graph::Precision precision : graph::kPrecisions) {
    if (graph::Name(precision) != value) continue;
    spec->precision = precision;
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("got '", value, "', wanted fp32, bf16 or int8"));
}

absl::Status SetKey(absl::string_view key, absl::string_view value,
                    CaseSpec* spec) {
  if (key == "about") {
    spec->about = std::string(value);
    return absl::OkStatus();
  }
  if (key == "convention") return Convention(value, spec);
  if (key == "dense") return Dense(value, spec);
  if (key == "engine") return Engine(value, spec);
  if (key == "precision") return Precision(value, spec);
  if (key == "rows") return Rows(value, spec);
  if (key == "weights") {
    if (value != "warm" && value != "cold") {
      return absl::InvalidArgumentError(
          absl::StrCat("got '", value, "', wanted warm or cold"));
    }
    spec->cold_weights = value == "cold";
    return absl::OkStatus();
  }
  if (key == "depth") {
    int64_t depth = 0;
    FFF_RETURN_IF_ERROR(Integer(value, 0, graph::kLevelsMax - 1, &depth));
    spec->depth = static_cast<int>(depth);
    return absl::OkStatus();
  }
  if (key == "trees") return Integer(value, 1, graph::kTreesMax, &spec->trees);
  const std::map<absl::string_view, int64_t*> widths = {
      {"input_width", &spec->input_width},
      {"output_width", &spec->output_width},
      {"leaf_width", &spec->leaf_width}};
  if (const auto width = widths.find(key); width != widths.end()) {
    return Integer(value, 1, graph::kWidthMax, width->second);
  }
  return absl::InvalidArgumentError(
      "unknown key, wanted about, convention, input_width, output_width, "
      "depth, leaf_width, trees, dense, engine, precision, rows or weights");
}

absl::Status Check(const CaseSpec& spec) {
  const bool leaf = spec.convention == "fastfeedforward";
  if (spec.convention.empty() || spec.input_width == 0 ||
      spec.output_width == 0) {
    return absl::InvalidArgumentError(
        "convention, input_width and output_width are required");
  }
  if (leaf != (spec.leaf_width > 0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "leaf_width is ", spec.leaf_width, " but the convention is ",
        spec.convention, "; fastfeedforward needs it, the others have none"));
  }
  if (spec.trees > 1 && spec.convention != "ultrafastbert") {
    return absl::InvalidArgumentError(
        absl::StrCat("trees is ", spec.trees, ", wanted 1 with convention ",
                     spec.convention));
  }
  if (spec.convention == "sap-fff" && spec.depth == 0) {
    return absl::InvalidArgumentError("depth is 0, sap-fff wants at least 1");
  }
  // A double bound first: the exact product could overflow.
  const double neurons = static_cast<double>(spec.nodes()) *
                         static_cast<double>(spec.trees) *
                         static_cast<double>(spec.leaf_width + 1);
  const double bytes =
      4.0 * neurons * static_cast<double>(spec.input_width + spec.output_width);
  if (bytes > static_cast<double>(kCaseWeightsBytesMax)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the weights would take about ", bytes / 1e9, " GB, wanted at most ",
        kCaseWeightsBytesMax / 1000000000, " GB"));
  }
  return absl::OkStatus();
}

}  // namespace

int64_t CaseSpec::nodes() const {
  const bool bottom_counts =
      convention == "ultrafastbert" || convention == "ultrafastbert-bmm";
  return (int64_t{1} << (depth + (bottom_counts ? 1 : 0))) - 1;
}

int64_t CaseSpec::weights_bytes() const {
  const int64_t per_node =
      leaf_width > 0 ? input_width + 1 : input_width + output_width;
  const int64_t per_leaf =
      leaf_width * (input_width + output_width + 1) + output_width;
  const int64_t leaves = leaf_width > 0 ? int64_t{1} << depth : 0;
  return 4 * (trees * nodes() * per_node + leaves * per_leaf);
}

absl::StatusOr<CaseSpec> ParseCase(absl::string_view name,
                                   absl::string_view text) {
  if (text.size() > kCaseBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("case ", name, ": got ", text.size(),
                     " bytes, wanted at most ", kCaseBytesMax));
  }
  CaseSpec spec;
  spec.name = std::string(name);
  std::set<absl::string_view> seen;
  int line_number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++line_number;
    line = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    const std::pair<absl::string_view, absl::string_view> pair =
        absl::StrSplit(line, absl::MaxSplits(':', 1));
    const absl::string_view key = absl::StripAsciiWhitespace(pair.first);
    const std::string where =
        absl::StrCat("case ", name, ", line ", line_number, ", ", key);
    if (!seen.insert(key).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": given twice, wanted once"));
    }
    FFF_RETURN_IF_ERROR(base::Annotate(
        SetKey(key, absl::StripAsciiWhitespace(pair.second), &spec), where));
  }
  FFF_RETURN_IF_ERROR(base::Annotate(Check(spec), absl::StrCat("case ", name)));
  return spec;
}

absl::StatusOr<CaseSpec> WithDepth(const CaseSpec& spec, int64_t depth) {
  CaseSpec changed = spec;
  changed.name = absl::StrCat(spec.name, "-d", depth);
  const std::string where = absl::StrCat("case ", spec.name, ", depth");
  FFF_RETURN_IF_ERROR(
      base::Annotate(SetKey("depth", absl::StrCat(depth), &changed), where));
  FFF_RETURN_IF_ERROR(base::Annotate(Check(changed), where));
  return changed;
}

absl::StatusOr<CaseSpec> WithEngine(const CaseSpec& spec,
                                    absl::string_view engine) {
  CaseSpec changed = spec;
  FFF_RETURN_IF_ERROR(base::Annotate(
      Engine(engine, &changed), absl::StrCat("case ", spec.name, ", engine")));
  return changed;
}

absl::StatusOr<CaseSpec> WithPrecision(const CaseSpec& spec,
                                       absl::string_view precision) {
  CaseSpec changed = spec;
  FFF_RETURN_IF_ERROR(
      base::Annotate(Precision(precision, &changed),
                     absl::StrCat("case ", spec.name, ", precision")));
  // As depths do: a report that is kept says what it is of.
  if (changed.precision != spec.precision) {
    changed.name = absl::StrCat(spec.name, "-", graph::Name(changed.precision));
  }
  return changed;
}

absl::StatusOr<CaseSpec> FindCase(absl::string_view name) {
  for (const EmbeddedCase& embedded : EmbeddedCases()) {
    if (embedded.name == name) return ParseCase(embedded.name, embedded.text);
  }
  return absl::NotFoundError(absl::StrCat(
      "no benchmark case '", name, "', there are: ",
      absl::StrJoin(EmbeddedCases(), ", ",
                    [](std::string* out, const EmbeddedCase& embedded) {
                      absl::StrAppend(out, embedded.name);
                    })));
}

}  // namespace fff::benchmark
