#include "server/importer/detect.h"

#include <optional>
#include <set>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
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

const LayoutTensor* FindTensor(const Layout& layout, absl::string_view name) {
  for (const LayoutTensor& tensor : layout.tensors) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

// Whether the two name a tensor alike, so that one file could be either.
bool Share(const Layout& a, const Layout& b) {
  return absl::c_any_of(a.tensors, [&b](const LayoutTensor& tensor) {
    return FindTensor(b, tensor.name) != nullptr;
  });
}

// A tensor with which it is another layout; null when there is none.
struct Foreign {
  absl::string_view tensor;
  const Convention* owner = nullptr;  // null: the layout itself forbids it
};
std::optional<Foreign> FindForeign(const PrefixView& view,
                                   const Layout& layout) {
  if (!layout.foreign.empty() && view.Has(layout.foreign)) {
    return Foreign{layout.foreign};
  }
  for (const Convention& other : Conventions()) {
    if (other.layout == &layout || !Share(*other.layout, layout)) continue;
    for (const LayoutTensor& mark : other.layout->tensors) {
      if (mark.mark_rank != 0 && FindTensor(layout, mark.name) == nullptr &&
          Marked(view, mark)) {
        return Foreign{mark.name, &other};
      }
    }
  }
  return std::nullopt;
}

bool Fits(const PrefixView& view, const Convention& convention) {
  const Layout& layout = *convention.layout;
  bool any = false;
  bool all = true;
  for (const LayoutTensor& tensor : layout.tensors) {
    if (tensor.mark_rank == 0) continue;
    const bool marked = Marked(view, tensor);
    any |= marked;
    all &= marked;
  }
  return (layout.all_marks ? all : any) &&
         !FindForeign(view, layout).has_value();
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

// A convention whose names and ranks are there, and whether its shapes are.
struct Candidate {
  const Convention* convention;
  absl::Status shapes;
};

// The line of config.json that settles it.
std::string ConfigLine(const Convention& convention) {
  return absl::StrCat(
      "{\"type\": \"fff\", \"convention\": \"", convention.name, "\"",
      convention.activation.has_value() ? "" : ", \"activation\": \"...\"",
      "}");
}

absl::Status NotServed(const Convention& convention) {
  return absl::InvalidArgumentError(
      absl::StrCat("convention \"", convention.name, "\" (", convention.source,
                   ") is not served yet: it needs ", convention.remark));
}

absl::Status SeveralFit(const std::vector<Candidate>& candidates) {
  std::string served;
  std::string unserved;
  std::string misshapen;
  absl::string_view last_reason;
  for (const auto& [convention, shapes] : candidates) {
    if (!shapes.ok()) {
      if (!convention->served()) continue;
      const bool same = shapes.message() == last_reason;
      absl::StrAppend(&misshapen, "; \"", convention->name,
                      "\" has its names but not its shapes", same ? "" : ": ",
                      same ? "" : shapes.message());
      last_reason = shapes.message();
    } else if (convention->served()) {
      absl::StrAppend(&served, served.empty() ? "" : ", ",
                      ConfigLine(*convention), " (",
                      DescribeConvention(*convention), ")");
    } else {
      absl::StrAppend(&unserved, "; \"", convention->name, "\" (",
                      convention->source, "), which fits, too, is not served ",
                      "yet: it needs ", convention->remark);
    }
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "the names are those of several public code bases, which compute "
      "different functions; set \"convention\" in config.json to the one to "
      "serve. ",
      served.empty() ? "No shapes fit" : "What fits: ", served, unserved,
      misshapen));
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

// The row of that name whose tensors are there, else the first.
const Convention& RowOf(const PrefixView& view, const Convention& named) {
  for (const Convention& row : Conventions()) {
    if (row.name == named.name && Fits(view, row)) return row;
  }
  return named;
}

bool FitsHints(const PrefixView& view, const DetectionHints& hints) {
  if (hints.convention != nullptr) {
    return Fits(view, RowOf(view, *hints.convention));
  }
  for (const Convention* convention : ConventionsIn(view)) {
    if (!hints.family.has_value() || convention->family() == *hints.family) {
      return true;
    }
  }
  return false;
}

std::vector<std::string> PrefixesThatFit(const TensorShapes& tensors,
                                         const DetectionHints& hints) {
  if (FitsHints({tensors, ""}, hints)) return {""};
  std::vector<std::string> fit;
  for (const std::string& prefix : CandidatePrefixes(tensors)) {
    // In order, so that a layer comes before the layers it is made of.
    if (!fit.empty() && absl::StartsWith(prefix, fit.back())) continue;
    if (FitsHints({tensors, prefix}, hints)) fit.push_back(prefix);
  }
  return fit;
}

absl::StatusOr<const Convention*> Served(const Convention* convention) {
  if (!convention->served()) return NotServed(*convention);
  return convention;
}

// The one that config.json names, unless the file says that it is another.
absl::StatusOr<const Convention*> Named(const TensorShapes& tensors,
                                        const Convention& named) {
  const PrefixView view = {tensors, ""};
  const Convention& row = RowOf(view, named);
  const auto foreign = FindForeign(view, *row.layout);
  if (row.served() && foreign.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        QuotedTensor(tensors, foreign->tensor),
        " is there, which a layer of convention \"", row.name,
        "\" does not have",
        foreign->owner == nullptr
            ? std::string()
            : absl::StrCat("; one of \"", foreign->owner->name, "\" has it")));
  }
  return Served(&row);
}

// True when config.json says all in which the two differ.
bool SameFunction(const Convention& a, const Convention& b,
                  const DetectionHints& hints) {
  return a.served() && a.layout->read == b.layout->read &&
         (a.tie == b.tie || hints.tie.has_value()) &&
         (a.activation == b.activation || hints.activation.has_value()) &&
         (a.output_bias == b.output_bias || hints.output_bias.has_value());
}

std::vector<Candidate> CandidatesOf(const TensorShapes& tensors,
                                    const DetectionHints& hints) {
  std::vector<Candidate> candidates;
  for (const Convention* convention : ConventionsThatFit(tensors)) {
    if (hints.family.has_value() && convention->family() != *hints.family) {
      continue;
    }
    const bool known =
        absl::c_any_of(candidates, [&](const Candidate& earlier) {
          return SameFunction(*earlier.convention, *convention, hints);
        });
    if (known) continue;
    const auto check = convention->layout->check;
    candidates.push_back(
        {convention, check == nullptr
                         ? absl::OkStatus()
                         : check(tensors, *convention, hints.trees)});
  }
  return candidates;
}

}  // namespace

std::string DescribeConvention(const Convention& convention) {
  std::string text = absl::StrCat(
      convention.source, ": right when z ",
      convention.tie == graph::Tie::kRight ? ">= 0" : "> 0", ", ",
      convention.activation.has_value() ? graph::Name(*convention.activation)
                                        : "an activation to be named");
  if (convention.family() == Family::kNone) {
    text = absl::StrCat(convention.source, ": ",
                        graph::Name(*convention.activation));
  }
  if (convention.remark.empty()) return text;
  return absl::StrCat(text, ", ", convention.remark);
}

std::vector<const Convention*> ConventionsThatFit(const TensorShapes& tensors) {
  return ConventionsIn({tensors, ""});
}

std::vector<const Convention*> OtherLayers(const TensorShapes& tensors,
                                           const Convention& convention) {
  std::vector<const Convention*> others;
  for (const Convention* other : ConventionsThatFit(tensors)) {
    if (!Share(*other->layout, *convention.layout)) others.push_back(other);
  }
  return others;
}

absl::StatusOr<const Convention*> DetectConvention(
    const TensorShapes& tensors, const DetectionHints& hints) {
  if (hints.convention != nullptr) return Named(tensors, *hints.convention);
  const std::vector<Candidate> candidates = CandidatesOf(tensors, hints);
  if (candidates.empty()) return NoneFits(tensors);
  const auto fits = [](const Candidate& of) { return of.shapes.ok(); };
  const auto served = [](const Candidate& of) {
    return of.convention->served();
  };
  if (candidates.size() == 1) return Served(candidates.front().convention);
  if (absl::c_count_if(candidates, fits) == 1) {
    const Convention* only = absl::c_find_if(candidates, fits)->convention;
    // What has no tensor of it is a layer beside it.
    if (absl::c_all_of(candidates, [&](const Candidate& of) {
          return Share(*of.convention->layout, *only->layout);
        })) {
      return Served(only);
    }
  }
  // Its reader says what is wrong.
  if (absl::c_none_of(candidates, fits) &&
      absl::c_count_if(candidates, served) == 1) {
    return absl::c_find_if(candidates, served)->convention;
  }
  return SeveralFit(candidates);
}

std::vector<std::string> LayerPrefixes(const TensorShapes& tensors) {
  return PrefixesThatFit(tensors, {});
}

absl::StatusOr<std::string> DetectPrefix(const TensorShapes& tensors,
                                         const DetectionHints& hints) {
  const std::vector<std::string> fit = PrefixesThatFit(tensors, hints);
  if (fit.size() > 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "several FFF layers are there; set \"prefix\" of the layer to one of ",
        QuotedNames(fit)));
  }
  return fit.empty() ? std::string() : fit.front();
}

}  // namespace fff::importer
