#include "server/benchmark/case.h"

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
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

// Of "{0..15}"; nothing where the name has none.
struct Numbers {
  size_t begin = 0;  // of the braces in the name
  size_t end = 0;
  int64_t first = 0;
  int64_t last = 0;
};

absl::StatusOr<std::optional<Numbers>> NumbersIn(absl::string_view name) {
  const size_t open = name.find('{');
  if (open == absl::string_view::npos) return std::nullopt;
  const size_t close = name.find('}', open);
  const size_t dots = name.find("..", open);
  Numbers numbers;
  if (close == absl::string_view::npos || dots == absl::string_view::npos ||
      dots > close ||
      !absl::SimpleAtoi(name.substr(open + 1, dots - open - 1),
                        &numbers.first) ||
      !absl::SimpleAtoi(name.substr(dots + 2, close - dots - 2),
                        &numbers.last) ||
      numbers.first < 0 || numbers.last < numbers.first ||
      numbers.last - numbers.first >= int64_t{kCaseTensorsMax}) {
    return absl::InvalidArgumentError(
        absl::StrCat("got '", name, "', wanted {FIRST..LAST} in it"));
  }
  numbers.begin = open;
  numbers.end = close + 1;
  return numbers;
}

absl::Status Fill(absl::string_view word, CaseTensor* tensor) {
  if (word == "zeros" || word == "ones") {
    tensor->fan_in = 0;
    tensor->fill = word == "ones" ? 1 : 0;
    return absl::OkStatus();
  }
  return Integer(word, 1, graph::kWidthMax, &tensor->fan_in);
}

absl::Status Tensor(absl::string_view value, CaseSpec* spec) {
  const std::vector<absl::string_view> words =
      absl::StrSplit(value, ' ', absl::SkipEmpty());
  if (words.size() < 2 || words.size() > 3) {
    return absl::InvalidArgumentError(absl::StrCat(
        "got '", value, "', wanted NAME SIZE,SIZE [ones | zeros | FAN_IN]"));
  }
  CaseTensor tensor;
  for (const absl::string_view word : absl::StrSplit(words[1], ',')) {
    int64_t size = 0;
    FFF_RETURN_IF_ERROR(Integer(word, 1, graph::kWidthMax, &size));
    tensor.shape.push_back(size);
  }
  tensor.fan_in = tensor.shape.back();
  if (words.size() == 3) FFF_RETURN_IF_ERROR(Fill(words[2], &tensor));
  FFF_ASSIGN_OR_RETURN(const std::optional<Numbers> numbers,
                       NumbersIn(words[0]));
  const Numbers each = numbers.value_or(Numbers());
  for (int64_t i = each.first; i <= each.last; ++i) {
    tensor.name = numbers.has_value()
                      ? absl::StrCat(words[0].substr(0, each.begin), i,
                                     words[0].substr(each.end))
                      : std::string(words[0]);
    spec->tensors.push_back(tensor);
  }
  if (spec->tensors.size() <= kCaseTensorsMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("got more than ", kCaseTensorsMax, " tensors"));
}

absl::Status SetKey(absl::string_view key, absl::string_view value,
                    CaseSpec* spec) {
  if (key == "about") {
    spec->about = std::string(value);
    return absl::OkStatus();
  }
  if (key == "config") {
    absl::StrAppend(&spec->config, value, "\n");
    return absl::OkStatus();
  }
  if (key == "tensor") return Tensor(value, spec);
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
      "depth, leaf_width, trees, dense, engine, precision, rows, weights, "
      "config or tensor");
}

absl::Status CheckBytes(double bytes) {
  if (bytes <= static_cast<double>(kCaseWeightsBytesMax)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "the weights would take about ", bytes / 1e9, " GB, wanted at most ",
      kCaseWeightsBytesMax / 1000000000, " GB"));
}

absl::Status CheckNetwork(const CaseSpec& spec) {
  if (spec.config.empty() || spec.tensors.empty()) {
    return absl::InvalidArgumentError(
        "a network has both config and tensor lines");
  }
  if (!spec.convention.empty() || spec.input_width > 0 ||
      spec.output_width > 0 || spec.depth > 0 || spec.leaf_width > 0 ||
      spec.trees > 1) {
    return absl::InvalidArgumentError(
        "the config of a network says its layers; convention, widths, depth "
        "and "
        "trees are of one layer");
  }
  if (spec.dense == DenseOpponent::kLinear) {
    return absl::InvalidArgumentError(
        "got dense linear, wanted neurons or width N for a network");
  }
  double bytes = 0;
  for (const CaseTensor& tensor : spec.tensors) {
    double elements = 1;
    for (const int64_t size : tensor.shape) {
      elements *= static_cast<double>(size);
    }
    bytes += sizeof(float) * elements;
  }
  return CheckBytes(bytes);
}

absl::Status Check(const CaseSpec& spec) {
  if (!spec.config.empty() || !spec.tensors.empty()) return CheckNetwork(spec);
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
  return CheckBytes(bytes);
}

}  // namespace

int64_t CaseSpec::nodes() const {
  const bool bottom_counts =
      convention == "ultrafastbert" || convention == "ultrafastbert-bmm";
  return (int64_t{1} << (depth + (bottom_counts ? 1 : 0))) - 1;
}

int64_t CaseSpec::weights_bytes() const {
  int64_t elements = 0;
  for (const CaseTensor& tensor : tensors) {
    elements += tensor::NumElements(tensor.shape).value_or(0);
  }
  if (is_network()) return 4 * elements;
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
    const bool repeats = key == "config" || key == "tensor";
    if (!repeats && !seen.insert(key).second) {
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
