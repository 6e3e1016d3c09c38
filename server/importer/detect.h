#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/importer/conventions.h"
#include "server/importer/fff_shape.h"

// Which convention a checkpoint follows, told by names, ranks and shapes alone.
// Pure functions.
//
// What each convention is recognised by are the marks of its layout
// (layouts/layouts.cc). Where names and shapes are those of several code bases
// that compute different functions, none is guessed: the error lists them.
// fastfeedforward-0.2.1 has fastfeedforward's tensors and other arithmetic, so
// it is never detected.
namespace fff::importer {

// Every detectable convention that the names and ranks fit, in table order,
// those that are not served included.
std::vector<const Convention*> ConventionsThatFit(const TensorShapes& tensors);

// Those of them that share no tensor with `convention`: layers beside it.
std::vector<const Convention*> OtherLayers(const TensorShapes& tensors,
                                           const Convention& convention);

// "pbelcak/...: right when z >= 0, gelu".
std::string DescribeConvention(const Convention& convention);

// What config.json says that narrows the choice.
struct DetectionHints {
  const Convention* convention = nullptr;  // named explicitly
  std::optional<Family> family;
  std::optional<int64_t> trees;
  // Where it says these, conventions that differ in nothing else are one.
  std::optional<graph::Tie> tie;
  std::optional<graph::Activation> activation;
  std::optional<bool> output_bias;
};

// The one convention that fits, or the one that was named. INVALID_ARGUMENT
// when
//   - none fits: the message shows tensors and what is recognised
//   - several do: the message lists them with the line of config.json that
//     settles it, and which have the names but not the shapes
//   - the one that does is not served
//   - the one that was named has no such tensors.
absl::StatusOr<const Convention*> DetectConvention(const TensorShapes& tensors,
                                                   const DetectionHints& hints);

// The prefixes under which an FFF layer stands, known or not served; {""} where
// one stands bare. Of prefixes inside another the outer one.
std::vector<std::string> LayerPrefixes(const TensorShapes& tensors);

// The prefix of the one FFF layer in `tensors`: "" when its tensors stand there
// bare. Otherwise the only prefix (ending in ".") under which a convention, or
// the one that was named, fits. Of prefixes inside another that fits it is the
// outer one. INVALID_ARGUMENT when several prefixes fit; the message lists
// them. "" when none does: DetectConvention then tells what was found.
absl::StatusOr<std::string> DetectPrefix(const TensorShapes& tensors,
                                         const DetectionHints& hints);

}  // namespace fff::importer
