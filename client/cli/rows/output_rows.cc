#include "client/cli/rows/output_rows.h"

#include "absl/strings/str_cat.h"
#include "server/base/log.h"

namespace fff::cli {

std::vector<v1::TensorMetadata> OutputsOf(const v1::GetModelResponse& model) {
  if (model.outputs().empty()) return {model.output()};
  return {model.outputs().begin(), model.outputs().end()};
}

absl::Span<const float> OutputRows::row(int64_t r) const {
  const auto at = static_cast<size_t>(r);
  const auto first = static_cast<size_t>(r == 0 ? 0 : ends[at - 1]);
  return absl::MakeConstSpan(values).subspan(
      first, static_cast<size_t>(ends[at]) - first);
}

std::vector<int64_t> OutputRows::Shape() const {
  if (row_shape.empty()) {
    return {static_cast<int64_t>(values.size()) / width, width};
  }
  std::vector<int64_t> shape = {rows()};
  shape.insert(shape.end(), row_shape.begin(), row_shape.end());
  return shape;
}

absl::Status OutputRows::Append(const client::NamedOutput& answer) {
  const std::vector<int64_t> shape(answer.shape.begin() + 1,
                                   answer.shape.end());
  const int64_t answered =
      tokens && !shape.empty() ? answer.width / shape[0] : answer.width;
  const bool first = ends.empty();
  if (!first && answered != width) {
    return absl::InternalError(absl::StrCat(
        "the width of output '", base::Printable(name),
        "' changed between requests from ", width, " to ", answered));
  }
  width = answered;
  if (first) {
    row_shape = shape;
  } else if (row_shape != shape) {
    row_shape.clear();
  }
  const int64_t rows = answer.shape[0];
  for (int64_t r = 0; r < rows; ++r) {
    ends.push_back((ends.empty() ? 0 : ends.back()) + answer.width);
  }
  values.insert(values.end(), answer.values.begin(), answer.values.end());
  return absl::OkStatus();
}

}  // namespace fff::cli
