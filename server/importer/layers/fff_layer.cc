#include "server/importer/layers/fff_layer.h"

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/log.h"
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
  hints.tie = config.tie;
  hints.activation = config.activation;
  hints.output_bias = config.output_bias;
  return hints;
}

// Tensors that are no leftovers: those that inference does not need and, where
// config.json decided for a convention, those of other layers in one module
// with it.
void IgnoreKnown(const TensorShapes& tensors, const Convention& convention,
                 const DetectionHints& hints, TensorReader& reader) {
  const auto ignore = [&](absl::string_view name) {
    if (tensors.Has(name)) reader.Ignore(tensors.FullName(name));
  };
  for (const absl::string_view name : kIgnored) ignore(name);
  if (hints.convention == nullptr && !hints.family.has_value()) return;
  for (const Convention* other : OtherLayers(tensors, convention)) {
    for (const LayoutTensor& tensor : other->layout->tensors) {
      ignore(tensor.name);
    }
  }
}

// "experts" of "experts.0.net.0.weight".
absl::string_view FirstPart(absl::string_view name) {
  return name.substr(0, name.find('.'));
}

// A module of which the layer uses one tensor is its own: a tensor in it that
// it does not use would make it another function.
absl::Status CheckOwnModules(const TensorShapes& tensors,
                             const TensorReader& reader) {
  std::set<absl::string_view> own;
  for (const auto& [name, shape] : tensors.shapes) {
    if (reader.used().count(tensors.FullName(name)) > 0 &&
        name.find('.') != std::string::npos) {
      own.insert(FirstPart(name));
    }
  }
  std::vector<std::string> unused;
  for (const auto& [name, shape] : tensors.shapes) {
    if (own.count(FirstPart(name)) > 0 && !IsCounter(name, shape) &&
        reader.used().count(tensors.FullName(name)) == 0) {
      unused.push_back(tensors.FullName(name));
    }
  }
  if (unused.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "its modules hold tensors that it does not use: ", QuotedNames(unused)));
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
  if (convention.family() == Family::kLeaf && !convention.layout->many_trees &&
      config.trees.value_or(1) != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"trees\": found ", *config.trees,
                     ", but a layer of the leaf family has one tree"));
  }
  if (config.arguments.any() && !convention.layout->takes_arguments) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"arguments\": convention \"", convention.name,
                     "\" has none that no tensor tells"));
  }
  if (convention.family() != Family::kLeaf &&
      config.output_bias.value_or(false)) {
    return absl::InvalidArgumentError(
        "\"output_bias\": found true, but a layer of the path family has no "
        "output bias");
  }
  return absl::OkStatus();
}

// One line where the file may be of another convention and config.json does not
// say in what they differ.
void SayWhatWasAssumed(const TensorShapes& tensors,
                       const Convention& convention,
                       const DetectionHints& hints) {
  if (hints.convention != nullptr || hints.output_bias.has_value() ||
      convention.told_by.empty() ||
      tensors.Find(convention.told_by) != nullptr) {
    return;
  }
  base::LogInfo(absl::StrCat("a layer without tensor \"", convention.told_by,
                             "\" is taken for convention \"", convention.name,
                             "\"; it may be of ", convention.otherwise,
                             ": name it in config.json where that is meant"));
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
  SayWhatWasAssumed(tensors, *convention, hints);
  IgnoreKnown(tensors, *convention, hints, reader);
  FFF_ASSIGN_OR_RETURN(
      LoadedLayer loaded,
      convention->layout->read(config, *convention, tensors, reader));
  FFF_RETURN_IF_ERROR(CheckOwnModules(tensors, reader));
  return loaded;
}

}  // namespace fff::importer
