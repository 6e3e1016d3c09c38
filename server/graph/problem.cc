#include "server/graph/problem.h"

#include "absl/strings/str_cat.h"

namespace fff::graph {
namespace {

absl::string_view TieText(Tie tie) {
  return tie == Tie::kRight ? "z>=0 goes right" : "z>0 goes right";
}

}  // namespace

absl::string_view Name(Precision precision) {
  switch (precision) {
    case Precision::kFp32:
      return "fp32";
    case Precision::kBf16:
      return "bf16";
    case Precision::kInt8:
      return "int8";
  }
  return "unknown";
}

std::string PrecisionText(Precision precision) {
  if (precision == Precision::kFp32) return "";
  return absl::StrCat(", ", Name(precision), " weights");
}

std::string PathProblem::ToString() const {
  return absl::StrCat("path ", input_width, "->", output_width, ", ", trees,
                      trees == 1 ? " tree of " : " trees of ", levels,
                      levels == 1 ? " level, " : " levels, ", Name(activation),
                      ", ", TieText(tie), has_bias ? ", node bias" : "",
                      PrecisionText(precision));
}

std::string LeafProblem::ToString() const {
  return absl::StrCat(
      "leaf ", input_width, "->(", leaf_width, ")->", output_width, ", depth ",
      depth, ", ", Name(activation), ", ", TieText(tie),
      has_output_bias ? "" : ", no output bias", PrecisionText(precision));
}

std::string DenseProblem::ToString() const {
  return absl::StrCat("dense ", input_width, "->", output_width, ", ",
                      Name(activation), has_bias ? ", bias" : "");
}

}  // namespace fff::graph
