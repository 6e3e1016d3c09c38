#include "server/importer/layers/fff_layer.h"

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/importer/conventions.h"
#include "server/importer/detect.h"

namespace fff::importer {
namespace {

// Visit counters of fastfeedforward and the load balancer's frequencies: saved
// by the public code, not needed by inference.
constexpr absl::string_view kIgnored[] = {"depth", "node_usage", "leaf_usage",
                                          "f"};

TensorShapes ShapesOf(const checkpoint::Checkpoint& checkpoint,
                      const std::string& prefix) {
  TensorShapes shapes;
  shapes.prefix = prefix;
  const auto& tensors = checkpoint.tensors();
  for (auto it = tensors.lower_bound(prefix);
       it != tensors.end() && it->first.compare(0, prefix.size(), prefix) == 0;
       ++it) {
    shapes.shapes.emplace(it->first.substr(prefix.size()), it->second.shape);
  }
  return shapes;
}

DetectionHints HintsOf(const LayerConfig& config) {
  DetectionHints hints;
  hints.convention = FindConvention(config.convention);
  hints.family = config.family;
  hints.trees = config.trees;
  return hints;
}

// Tensors that are no leftovers: those that inference does not need and, where
// config.json decided for a convention, those of the others that may stand in
// one file with it.
void IgnoreKnown(const TensorShapes& tensors, const DetectionHints& hints,
                 TensorReader& reader) {
  const auto ignore = [&](absl::string_view name) {
    if (tensors.Find(name) != nullptr) {
      reader.Ignore(absl::StrCat(tensors.prefix, name));
    }
  };
  for (const absl::string_view name : kIgnored) ignore(name);
  if (hints.convention == nullptr && !hints.family.has_value()) return;
  for (const Convention& convention : Conventions()) {
    if (convention.layout->adds_to_another) continue;
    for (const LayoutTensor& tensor : convention.layout->tensors) {
      ignore(tensor.name);
    }
  }
}

// Fields that mean nothing for the family that was found.
absl::Status CheckOverrides(const LayerConfig& config,
                            const Convention& convention) {
  if (config.family.has_value() && *config.family != convention.family()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"family\": found \"", Name(*config.family),
                     "\", but convention \"", convention.name,
                     "\" is of family \"", Name(convention.family()), "\""));
  }
  if (convention.family() == Family::kLeaf && config.trees.value_or(1) != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"trees\": found ", *config.trees,
                     ", but a layer of the leaf family has one tree"));
  }
  if (convention.family() == Family::kPath &&
      config.output_bias.value_or(false)) {
    return absl::InvalidArgumentError(
        "\"output_bias\": found true, but a layer of the path family has no "
        "output bias");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LoadedLayer> LoadFff(const LayerConfig& config,
                                    TensorReader& reader) {
  const DetectionHints hints = HintsOf(config);
  TensorShapes tensors = ShapesOf(reader.checkpoint(), config.prefix);
  if (config.prefix.empty()) {
    FFF_ASSIGN_OR_RETURN(const std::string prefix,
                         DetectPrefix(tensors, hints));
    if (!prefix.empty()) tensors = UnderPrefix(tensors, prefix);
  }
  FFF_ASSIGN_OR_RETURN(const Convention* convention,
                       DetectConvention(tensors, hints));
  FFF_RETURN_IF_ERROR(CheckOverrides(config, *convention));
  IgnoreKnown(tensors, hints, reader);
  return convention->layout->read(config, *convention, tensors, reader);
}

}  // namespace fff::importer
