#include "client/cli/rows/truth_file.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/formats/csv.h"
#include "client/cli/formats/idx.h"
#include "client/cli/formats/npy.h"
#include "client/cli/rows/input_file.h"
#include "client/cli/rows/input_part.h"
#include "client/cli/rows/predict_rows.h"
#include "client/cli/rows/read_file.h"
#include "server/base/status_macros.h"

namespace fff::cli {
namespace {

// Whether the model can answer each of the labels at all.
absl::Status CheckClasses(const std::vector<int64_t>& labels,
                          const v1::TensorMetadata& output) {
  if (output.shape().empty()) return absl::OkStatus();
  const int64_t classes = *output.shape().rbegin();
  for (size_t i = 0; i < labels.size(); ++i) {
    if (classes <= 0 || (labels[i] >= 0 && labels[i] < classes)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("got label ", labels[i], " for row ", i, ", wanted 0 to ",
                     classes - 1));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadContents(const std::string& path) {
  const InputArgument argument = ParseInputArgument(path);
  FFF_ASSIGN_OR_RETURN(std::string bytes, ReadFile(argument.file));
  return OnlyPart(argument, std::move(bytes));
}

struct Wanted {
  int64_t answers = 0;
  int64_t elements = 1;  // of one answer
  bool may_be_more = false;
  bool of_tokens = false;
};

Wanted WantedOf(bool may_be_more, const v1::GetModelResponse& model,
                const PortRows& port) {
  return {AnswersOf(model, port), ElementsOf(model.output(), 1), may_be_more,
          AnswersTokens(model)};
}

absl::StatusOr<std::vector<int64_t>> ParseLabels(
    absl::string_view bytes, const Wanted& wanted,
    const v1::GetModelResponse& model) {
  FFF_ASSIGN_OR_RETURN(std::vector<int64_t> labels,
                       ParseTruth(bytes, {wanted.answers, wanted.may_be_more,
                                          wanted.of_tokens}));
  FFF_RETURN_IF_ERROR(CheckClasses(labels, model.output()));
  return labels;
}

// Whether the file's numbers are those of the output, not classes.
absl::StatusOr<bool> HoldsNumbers(absl::string_view bytes,
                                  const Wanted& wanted) {
  if (wanted.elements == 1) return true;
  if (IsIdx(bytes)) return false;
  if (IsNpy(bytes)) {
    FFF_ASSIGN_OR_RETURN(const NpyArray array, ParseNpy(bytes));
    return array.type.kind == 'f' ||
           (array.elements() > 0 && array.shape.size() > 1 &&
            array.elements() / array.shape[0] == wanted.elements);
  }
  FFF_ASSIGN_OR_RETURN(const CsvTable table,
                       ParseCsv(bytes, {true, false, true}));
  return table.rows() >= wanted.answers &&
         std::all_of(table.widths.begin(), table.widths.end(),
                     [&](int64_t width) { return width == wanted.elements; });
}

absl::StatusOr<std::vector<float>> ParseNumbers(absl::string_view bytes,
                                                const Wanted& wanted) {
  FFF_ASSIGN_OR_RETURN(InputMatrix matrix,
                       ParseInput(bytes, {Elements::kFloats, false}));
  const auto got = static_cast<int64_t>(matrix.values.size());
  const int64_t all = wanted.answers * wanted.elements;
  if (got % wanted.elements != 0 || got < all ||
      (got > all && !wanted.may_be_more)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "got ", got, " numbers, wanted ", wanted.elements, " for each of ",
        wanted.answers, wanted.of_tokens ? " tokens" : " rows",
        wanted.elements > 1 ? ", or one class, an integer" : ""));
  }
  matrix.values.resize(static_cast<size_t>(all));
  for (size_t i = 0; i < matrix.values.size(); ++i) {
    if (std::isfinite(matrix.values[i])) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "got ", matrix.values[i], " as number ", i, ", wanted finite numbers"));
  }
  return std::move(matrix.values);
}

absl::StatusOr<Truth> ParseEither(absl::string_view bytes, const Wanted& wanted,
                                  const v1::GetModelResponse& model) {
  Truth truth;
  FFF_ASSIGN_OR_RETURN(const bool numbers, HoldsNumbers(bytes, wanted));
  if (numbers) {
    FFF_ASSIGN_OR_RETURN(truth.numbers, ParseNumbers(bytes, wanted));
  } else {
    FFF_ASSIGN_OR_RETURN(truth.labels, ParseLabels(bytes, wanted, model));
  }
  return truth;
}

}  // namespace

absl::StatusOr<std::vector<int64_t>> ReadLabels(
    const std::string& path, bool may_be_more,
    const v1::GetModelResponse& model, const PortRows& port) {
  FFF_ASSIGN_OR_RETURN(const std::string bytes, ReadContents(path));
  auto labels = ParseLabels(bytes, WantedOf(may_be_more, model, port), model);
  if (!labels.ok()) return base::Annotate(labels.status(), path);
  return labels;
}

absl::StatusOr<Truth> ReadTruth(const std::string& path, bool may_be_more,
                                const v1::GetModelResponse& model,
                                const PortRows& port) {
  FFF_ASSIGN_OR_RETURN(const std::string bytes, ReadContents(path));
  auto truth = ParseEither(bytes, WantedOf(may_be_more, model, port), model);
  if (!truth.ok()) return base::Annotate(truth.status(), path);
  return truth;
}

}  // namespace fff::cli
