#include "client/cli/rows/input_file.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/cli/formats/csv.h"
#include "client/cli/formats/idx.h"
#include "client/cli/formats/npy.h"
#include "client/cli/formats/png.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"

namespace fff::cli {
namespace {

// Splits an array's elements into rows of its first dimension.
absl::Status SetRows(const std::vector<int64_t>& shape, InputMatrix* input) {
  const auto elements = static_cast<int64_t>(
      std::max(input->values.size(), input->integers.size()));
  const int64_t rows = shape.size() < 2 ? 1 : shape[0];
  if (elements == 0 || rows == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        input->what, " holds no elements, wanted at least one row"));
  }
  input->widths.assign(static_cast<size_t>(rows), elements / rows);
  if (shape.size() > 1) input->row_shape.assign(shape.begin() + 1, shape.end());
  return absl::OkStatus();
}

template <class Pixels>
void SetPixels(const Pixels& pixels, Elements elements, InputMatrix* input) {
  input->is_image = true;
  for (const auto pixel : pixels) {
    const auto value = static_cast<unsigned char>(pixel);
    if (elements == Elements::kFloats) {
      input->values.push_back(value);
    } else {
      input->integers.push_back(value);
    }
  }
}

absl::StatusOr<InputMatrix> FromNpy(absl::string_view bytes,
                                    Elements elements) {
  FFF_ASSIGN_OR_RETURN(const NpyArray array, ParseNpy(bytes));
  InputMatrix input;
  input.what = absl::StrCat(".npy array of shape (",
                            absl::StrJoin(array.shape, ", "), ")");
  if (elements == Elements::kFloats) {
    FFF_ASSIGN_OR_RETURN(input.values, NpyFloats(array));
  } else {
    FFF_ASSIGN_OR_RETURN(input.integers, NpyIntegers(array));
  }
  FFF_RETURN_IF_ERROR(SetRows(array.shape, &input));
  return input;
}

absl::StatusOr<InputMatrix> FromIdx(absl::string_view bytes,
                                    Elements elements) {
  FFF_ASSIGN_OR_RETURN(const IdxArray array, ParseIdx(bytes));
  InputMatrix input;
  input.what = absl::StrCat("IDX array of shape [",
                            absl::StrJoin(array.shape, ", "), "]");
  SetPixels(array.data, elements, &input);
  FFF_RETURN_IF_ERROR(SetRows(array.shape, &input));
  return input;
}

absl::StatusOr<InputMatrix> FromPng(absl::string_view bytes,
                                    Elements elements) {
  FFF_ASSIGN_OR_RETURN(const GreyImage image, DecodePng(bytes));
  InputMatrix input;
  input.what =
      absl::StrCat("PNG of ", image.width, "x", image.height, " pixels");
  input.widths = {image.width * image.height};
  input.row_shape = {image.height, image.width};
  SetPixels(image.pixels, elements, &input);
  return input;
}

absl::StatusOr<InputMatrix> FromCsv(absl::string_view bytes,
                                    const InputForm& form) {
  FFF_ASSIGN_OR_RETURN(CsvTable table,
                       ParseCsv(bytes, {form.rows_may_differ,
                                        form.elements == Elements::kIntegers}));
  InputMatrix input;
  input.what = absl::StrCat("CSV of ", table.rows(), " rows");
  input.widths = std::move(table.widths);
  input.values.assign(table.values.begin(), table.values.end());
  input.integers = std::move(table.integers);
  return input;
}

absl::StatusOr<std::vector<int64_t>> AllTruth(absl::string_view bytes,
                                              bool of_tokens) {
  if (IsNpy(bytes)) {
    FFF_ASSIGN_OR_RETURN(const NpyArray array, ParseNpy(bytes));
    const auto long_dimensions =
        std::count_if(array.shape.begin(), array.shape.end(),
                      [](int64_t size) { return size != 1; });
    if (long_dimensions > 1 && !of_tokens) {
      return absl::InvalidArgumentError(absl::StrCat(
          "got an array of shape [", absl::StrJoin(array.shape, ", "),
          "], wanted labels (1 dimension)"));
    }
    return NpyIntegers(array);
  }
  if (IsIdx(bytes)) {
    FFF_ASSIGN_OR_RETURN(const IdxArray array, ParseIdx(bytes));
    if (array.shape.size() != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("got an IDX array of ", array.shape.size(),
                       " dimensions, wanted labels (1 dimension)"));
    }
    std::vector<int64_t> labels;
    for (const char c : array.data) {
      labels.push_back(static_cast<unsigned char>(c));
    }
    return labels;
  }
  FFF_ASSIGN_OR_RETURN(CsvTable table, ParseCsv(bytes, {true, true, true}));
  if (!of_tokens && table.rows() > 1 &&
      table.rows() != static_cast<int64_t>(table.integers.size())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "got ", table.integers.size(), " numbers in ", table.rows(),
        " lines, wanted labels, one per line or all in one line"));
  }
  return std::move(table.integers);
}

}  // namespace

absl::StatusOr<InputMatrix> ParseInput(absl::string_view bytes,
                                       const InputForm& form) {
  if (IsNpy(bytes)) return FromNpy(bytes, form.elements);
  if (IsPng(bytes)) return FromPng(bytes, form.elements);
  if (IsIdx(bytes)) return FromIdx(bytes, form.elements);
  return FromCsv(bytes, form);
}

absl::StatusOr<std::vector<int64_t>> ParseTruth(absl::string_view bytes,
                                                const TruthForm& form) {
  FFF_ASSIGN_OR_RETURN(std::vector<int64_t> truth,
                       AllTruth(bytes, form.of_tokens));
  const auto labels = static_cast<int64_t>(truth.size());
  if (labels < form.answers || (labels > form.answers && !form.may_be_more)) {
    return absl::InvalidArgumentError(
        absl::StrCat("got ", labels, " labels, wanted one for each of ",
                     form.answers, form.of_tokens ? " tokens" : " rows"));
  }
  truth.resize(static_cast<size_t>(form.answers));
  return truth;
}

absl::StatusOr<Normalization> ParseNormalization(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ',');
  Normalization normalization;
  if (parts.size() != 2 || !absl::SimpleAtof(parts[0], &normalization.mean) ||
      !absl::SimpleAtof(parts[1], &normalization.std) ||
      !std::isfinite(normalization.mean) || !std::isfinite(normalization.std) ||
      normalization.std <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("got '", base::Printable(text, 40),
                     "', wanted MEAN,STD with STD above 0, as in 0.5,0.5"));
  }
  return normalization;
}

void Normalize(const Normalization& normalization, absl::Span<float> values) {
  for (float& value : values) {
    value = (value / 255.0F - normalization.mean) / normalization.std;
  }
}

}  // namespace fff::cli
