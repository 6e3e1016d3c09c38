#include "server/importer/detect.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/importer/conventions.h"
#include "server/importer/tensor_reader.h"

namespace fff::importer {
namespace {

// The tensors under a prefix without a copy of their names: a file of many
// prefixes is looked at once a prefix.
struct PrefixView {
  const TensorShapes& tensors;
  std::string prefix;

  const tensor::Shape* Find(absl::string_view name) const {
    return tensors.Find(absl::StrCat(prefix, name));
  }
  bool Has(absl::string_view name) const { return Find(name) != nullptr; }
  bool HasRank(absl::string_view name, size_t rank) const {
    const tensor::Shape* shape = Find(name);
    return shape != nullptr && shape->size() == rank;
  }
};

bool Marked(const PrefixView& view, const LayoutTensor& tensor) {
  return tensor.mark_rank == LayoutTensor::kAny
             ? view.Has(tensor.name)
             : view.HasRank(tensor.name, static_cast<size_t>(tensor.mark_rank));
}

bool Fits(const PrefixView& view, const Convention& convention) {
  const Layout& layout = *convention.layout;
  if (!layout.foreign.empty() && view.Has(layout.foreign)) return false;
  bool any = false;
  bool all = true;
  for (const LayoutTensor& tensor : layout.tensors) {
    if (tensor.mark_rank == 0) continue;
    const bool marked = Marked(view, tensor);
    any |= marked;
    all &= marked;
  }
  return layout.all_marks ? all : any;
}

// OK when the shapes fit too.
absl::Status CheckShapes(const TensorShapes& tensors,
                         const Convention& convention,
                         const DetectionHints& hints) {
  if (convention.family() == Family::kPath) {
    return PathProblemOf(tensors, convention, hints.trees).status();
  }
  return LeafProblemOf(tensors, convention, convention.output_bias).status();
}

absl::Status NoneFits(const TensorShapes& tensors) {
  std::vector<std::string> found;
  for (const auto& [name, shape] : tensors.shapes) {
    found.push_back(absl::StrCat(name, " ", tensor::ToString(shape)));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "no convention is recognised",
      tensors.prefix.empty()
          ? std::string()
          : absl::StrCat(" under prefix \"", tensors.prefix, "\""),
      "; found ",
      found.empty() ? std::string("no tensors") : QuotedNames(found),
      "; wanted the tensors of one of ", ConventionNames()));
}

absl::Status SeveralFit(const TensorShapes& tensors,
                        const std::vector<const Convention*>& candidates,
                        const DetectionHints& hints) {
  std::vector<std::string> fit;
  std::string rest;
  for (const Convention* candidate : candidates) {
    const absl::Status status = CheckShapes(tensors, *candidate, hints);
    if (status.ok()) {
      fit.push_back(absl::StrCat("\"", candidate->name, "\""));
    } else {
      absl::StrAppend(
          &rest, "; \"", candidate->name,
          "\" has its names but not its shapes: ", status.message());
    }
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "the tensors of several conventions are there; set \"convention\" in "
      "config.json to the one to serve. ",
      fit.empty() ? "No shapes fit" : "What fits: ", absl::StrJoin(fit, ", "),
      rest));
}

// Where a mark of a layout stands, a layer may be.
std::set<std::string> CandidatePrefixes(const TensorShapes& tensors) {
  std::set<std::string> prefixes;
  for (const Convention& convention : Conventions()) {
    for (const LayoutTensor& tensor : convention.layout->tensors) {
      if (tensor.mark_rank == 0) continue;
      const std::string ending = absl::StrCat(".", tensor.name);
      for (const auto& [name, shape] : tensors.shapes) {
        if (absl::EndsWith(name, ending)) {
          prefixes.insert(name.substr(0, name.size() - tensor.name.size()));
        }
      }
    }
  }
  return prefixes;
}

std::vector<const Convention*> ConventionsIn(const PrefixView& view) {
  std::vector<const Convention*> fit;
  for (const Convention& convention : Conventions()) {
    if (convention.detectable && Fits(view, convention)) {
      fit.push_back(&convention);
    }
  }
  return fit;
}

bool FitsHints(const PrefixView& view, const DetectionHints& hints) {
  if (hints.convention != nullptr) return Fits(view, *hints.convention);
  for (const Convention* convention : ConventionsIn(view)) {
    if (!hints.family.has_value() || convention->family() == *hints.family) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::vector<const Convention*> ConventionsThatFit(const TensorShapes& tensors) {
  return ConventionsIn({tensors, ""});
}

absl::StatusOr<const Convention*> DetectConvention(
    const TensorShapes& tensors, const DetectionHints& hints) {
  if (hints.convention != nullptr) return hints.convention;
  std::vector<const Convention*> candidates = ConventionsThatFit(tensors);
  if (hints.family.has_value()) {
    candidates.erase(std::remove_if(candidates.begin(), candidates.end(),
                                    [&](const Convention* candidate) {
                                      return candidate->family() !=
                                             *hints.family;
                                    }),
                     candidates.end());
  }
  if (candidates.empty()) return NoneFits(tensors);
  if (candidates.size() > 1) return SeveralFit(tensors, candidates, hints);
  return candidates.front();
}

absl::StatusOr<std::string> DetectPrefix(const TensorShapes& tensors,
                                         const DetectionHints& hints) {
  if (FitsHints({tensors, ""}, hints)) return std::string();
  std::vector<std::string> fit;
  for (const std::string& prefix : CandidatePrefixes(tensors)) {
    if (FitsHints({tensors, prefix}, hints)) fit.push_back(prefix);
  }
  if (fit.size() > 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "several FFF layers are there; set \"prefix\" of the layer to one of ",
        QuotedNames(fit)));
  }
  return fit.empty() ? std::string() : fit.front();
}

}  // namespace fff::importer
