#include "server/importer/assumptions.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "server/importer/conventions.h"
#include "server/importer/detect.h"

namespace fff::importer {
namespace {

constexpr absl::string_view kOutputBias = "b2s";

// The largest element of the output bias; 0 where there is none.
float LargestBias(const TensorShapes& tensors, TensorReader& reader) {
  const tensor::Shape* shape = tensors.Find(kOutputBias);
  if (shape == nullptr) return 0;
  const auto bias = reader.Floats(tensors.FullName(kOutputBias), *shape);
  if (!bias.ok()) return 0;
  float largest = 0;
  for (const float value : bias->span()) {
    largest = std::max(largest, std::abs(value));
  }
  return largest;
}

std::string AssumedConvention(const Convention& convention,
                              const TensorShapes& tensors) {
  std::string text = absl::StrCat("taken for convention \"", convention.name,
                                  "\" (", DescribeConvention(convention), ")");
  if (!convention.told_by.empty() && !tensors.Has(convention.told_by)) {
    absl::StrAppend(&text, "; without tensor \"", convention.told_by,
                    "\" it may be of ", convention.otherwise);
  }
  return text;
}

}  // namespace

std::string AssumedOf(const LayerConfig& config, const Convention& convention,
                      const TensorShapes& tensors, TensorReader& reader) {
  std::vector<std::string> assumed;
  if (config.convention.empty()) {
    assumed.push_back(AssumedConvention(convention, tensors));
  }
  if (!config.activation.has_value() && convention.activation.has_value() &&
      *convention.activation != graph::Activation::kIdentity) {
    assumed.push_back(absl::StrCat("no tensor tells the activation, taken as ",
                                   graph::Name(*convention.activation)));
  }
  if (!convention.without_bias.empty() && !config.output_bias.has_value()) {
    if (const float largest = LargestBias(tensors, reader); largest > 0) {
      assumed.push_back(absl::StrFormat(
          "b2s is added; \"%s\" (%s) adds none in eval, which moves answers "
          "by up to %.3g",
          convention.without_bias,
          FindConvention(convention.without_bias)->source, largest));
    }
  }
  return absl::StrJoin(assumed, "; ");
}

}  // namespace fff::importer
