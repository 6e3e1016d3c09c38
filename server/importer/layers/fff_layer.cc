#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/importer/assumptions.h"
#include "server/importer/conventions.h"
#include "server/importer/detect.h"
#include "server/importer/layers/layer_fields.h"
#include "server/importer/layers/layer_type.h"

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

// Fields that contradict the family are refused here, before any tensor is
// read; without a convention the family may still be detected, and then the
// reader checks again.
void CheckFamily(const LayerConfig& config, JsonFields& fields) {
  const Convention* convention = FindConvention(config.convention);
  if (convention != nullptr && config.family.has_value() &&
      *config.family != convention->family()) {
    fields.errors().Add(
        fields.PathOf("family"),
        absl::StrCat("found \"", Name(*config.family), "\", but convention \"",
                     convention->name, "\" is of family \"",
                     Name(convention->family()), "\"; leave one of them out"));
  }
}

// The name of its row, "" when the key is absent.
std::string ReadConvention(JsonFields& fields) {
  const auto name =
      fields.String("convention", checkpoint::kTensorNameBytesMax);
  if (!name.has_value()) return "";
  const Convention* convention = FindConvention(*name);
  if (convention != nullptr) return std::string(convention->name);
  fields.errors().Add(
      fields.PathOf("convention"),
      absl::StrCat("found the string \"", base::Printable(*name),
                   "\", wanted one of ", ConventionNames()));
  return "";
}

// 0 <= share <= 1.
std::optional<double> ReadShare(JsonFields& fields, const char* key) {
  const std::vector<double> share = fields.Numbers(key, 1);
  if (share.empty()) return std::nullopt;
  if (share[0] >= 0 && share[0] <= 1) return share[0];
  fields.errors().Add(fields.PathOf(key),
                      absl::StrCat("found ", share[0], ", wanted 0 to 1"));
  return std::nullopt;
}

void ReadArguments(JsonFields& layer, FffArguments& arguments) {
  const nlohmann::json* value = layer.Find("arguments");
  if (value == nullptr) return;
  JsonFields fields(*value, layer.PathOf("arguments"), layer.errors());
  arguments.region_leak = ReadShare(fields, "region_leak");
  arguments.master_leaf = fields.Bool("master_leaf");
  arguments.fallback_leaf = fields.Bool("fallback_leaf");
  arguments.route_rows_output_count =
      fields.Integer("route_rows_output_count", {0, graph::kWidthMax});
  fields.RejectUnknownKeys();
}

void ReadFff(JsonFields& fields, LayerConfig& config) {
  config.convention = ReadConvention(fields);
  ReadPrefix(fields, config);
  config.activation = ReadActivation(fields);
  config.trees = fields.Integer("trees", {1, graph::kTreesMax});
  config.family = fields.OneOf<Family>(
      "family", {{"leaf", Family::kLeaf}, {"path", Family::kPath}});
  config.tie = fields.OneOf<graph::Tie>(
      "tie", {{"right", graph::Tie::kRight}, {"left", graph::Tie::kLeft}});
  config.output_bias = fields.Bool("output_bias");
  ReadArguments(fields, config.arguments);
  CheckFamily(config, fields);
}

// Detects prefix and convention where the config leaves them out and reads the
// tensors (fff_tensors.h).
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
  IgnoreKnown(tensors, *convention, hints, reader);
  FFF_ASSIGN_OR_RETURN(
      LoadedLayer loaded,
      convention->layout->read(config, *convention, tensors, reader));
  FFF_RETURN_IF_ERROR(CheckOwnModules(tensors, reader));
  loaded.assumed = AssumedOf(config, *convention, tensors, reader);
  return loaded;
}

}  // namespace

absl::Span<const LayerType> FffLayers() {
  static constexpr LayerType kTypes[] = {
      {"fff", true, false, ReadFff, LoadFff},
  };
  return kTypes;
}

}  // namespace fff::importer
