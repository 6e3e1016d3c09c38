#include "server/importer/dense_names.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/importer/tensor_reader.h"

namespace fff::importer {
namespace {

// A name cut into runs of digits (leading zeros removed) and runs of others.
std::vector<std::string> Runs(absl::string_view name) {
  std::vector<std::string> runs;
  size_t at = 0;
  while (at < name.size()) {
    const bool digits =
        absl::ascii_isdigit(static_cast<unsigned char>(name[at]));
    size_t end = at;
    while (end < name.size() && absl::ascii_isdigit(static_cast<unsigned char>(
                                    name[end])) == digits) {
      ++end;
    }
    absl::string_view run = name.substr(at, end - at);
    while (digits && run.size() > 1 && run[0] == '0') run.remove_prefix(1);
    runs.emplace_back(run);
    at = end;
  }
  return runs;
}

bool IsNumber(const std::string& run) {
  return absl::ascii_isdigit(static_cast<unsigned char>(run[0]));
}

// True when the names differ in exactly one number.
bool DifferInOneNumber(absl::string_view a, absl::string_view b) {
  const std::vector<std::string> left = Runs(a);
  const std::vector<std::string> right = Runs(b);
  if (left.size() != right.size()) return false;
  int different = 0;
  for (size_t i = 0; i < left.size(); ++i) {
    if (left[i] == right[i]) continue;
    if (!IsNumber(left[i]) || !IsNumber(right[i])) return false;
    ++different;
  }
  return different == 1;
}

absl::Status AskForLayers(const checkpoint::Checkpoint& checkpoint,
                          absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(
      checkpoint.source(), ": ", why,
      "; list the dense network's layers in config.json, for example "
      "\"dense_layers\": [{\"type\": \"linear\", \"prefix\": \"fc1.\", "
      "\"activation\": \"relu\"}, {\"type\": \"linear\", \"prefix\": "
      "\"fc2.\"}]"));
}

// Prefixes of the linear layers ("" for a bare `weight`), in natural order.
absl::StatusOr<std::vector<std::string>> LinearPrefixes(
    const checkpoint::Checkpoint& checkpoint) {
  std::vector<std::string> prefixes;
  std::set<std::string> known;
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    absl::string_view prefix = name;
    if (!absl::ConsumeSuffix(&prefix, "weight") || tensor.shape.size() != 2 ||
        !(prefix.empty() || absl::EndsWith(prefix, "."))) {
      continue;
    }
    prefixes.emplace_back(prefix);
    known.insert({name, absl::StrCat(prefix, "bias")});
  }
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    if (known.count(name) > 0 || tensor.optional ||
        IsCounter(name, tensor.shape)) {
      continue;
    }
    return AskForLayers(
        checkpoint,
        absl::StrCat("tensor \"", base::Printable(name), "\" ",
                     tensor::ToString(tensor.shape),
                     " is not the weight or bias of a linear layer"));
  }
  if (prefixes.empty() || prefixes.size() * 2 > kLayersMax) {
    return AskForLayers(checkpoint, absl::StrCat("found ", prefixes.size(),
                                                 " linear layers, wanted 1 to ",
                                                 kLayersMax / 2));
  }
  std::sort(prefixes.begin(), prefixes.end(), NaturallyBefore);
  return prefixes;
}

absl::Status CheckOrder(const checkpoint::Checkpoint& checkpoint,
                        const std::vector<std::string>& prefixes) {
  for (size_t i = 1; i < prefixes.size(); ++i) {
    if (!DifferInOneNumber(prefixes[0], prefixes[i])) {
      return AskForLayers(
          checkpoint,
          absl::StrCat("the names \"", base::Printable(prefixes[0]),
                       "\" and \"", base::Printable(prefixes[i]),
                       "\" do not tell in which order the layers stand"));
    }
    const std::string before = absl::StrCat(prefixes[i - 1], "weight");
    const std::string after = absl::StrCat(prefixes[i], "weight");
    const int64_t output = checkpoint.Find(before)->shape[0];
    const int64_t input = checkpoint.Find(after)->shape[1];
    if (output != input) {
      return AskForLayers(
          checkpoint, absl::StrCat("tensor \"", after, "\" takes width ", input,
                                   ", but \"", before, "\" gives ", output));
    }
  }
  return absl::OkStatus();
}

}  // namespace

bool NaturallyBefore(absl::string_view a, absl::string_view b) {
  const std::vector<std::string> left = Runs(a);
  const std::vector<std::string> right = Runs(b);
  for (size_t i = 0; i < left.size() && i < right.size(); ++i) {
    if (left[i] == right[i]) continue;
    if (IsNumber(left[i]) && IsNumber(right[i])) {
      if (left[i].size() != right[i].size()) {
        return left[i].size() < right[i].size();
      }
    }
    return left[i] < right[i];
  }
  return left.size() < right.size();
}

absl::StatusOr<std::vector<LayerConfig>> DetectDenseLayers(
    const checkpoint::Checkpoint& checkpoint) {
  FFF_ASSIGN_OR_RETURN(const std::vector<std::string> prefixes,
                       LinearPrefixes(checkpoint));
  FFF_RETURN_IF_ERROR(CheckOrder(checkpoint, prefixes));
  std::vector<LayerConfig> layers;
  for (size_t i = 0; i < prefixes.size(); ++i) {
    LayerConfig linear;
    linear.type = "linear";
    linear.prefix = prefixes[i];
    if (i + 1 < prefixes.size()) linear.activation = graph::Activation::kRelu;
    layers.push_back(std::move(linear));
  }
  return layers;
}

}  // namespace fff::importer
