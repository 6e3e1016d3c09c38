#include "server/importer/draft_config.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "server/graph/problem.h"
#include "server/importer/dense_names.h"
#include "server/importer/detect.h"
#include "server/importer/tensor_reader.h"

namespace fff::importer {
namespace {

struct DraftLayer {
  std::string prefix;
  std::string type;
  std::string more;  // `, "key": value` behind type
};

std::string Quoted(absl::string_view text) {
  return absl::StrCat(
      "\"", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"\"", "\\\""}}), "\"");
}

// The convention that a layer is, or the first of those that it may be.
const Convention* ChooseConvention(const TensorShapes& layer,
                                   std::vector<std::string>& remarks) {
  const auto detected = DetectConvention(layer, {});
  if (detected.ok()) return *detected;
  remarks.push_back(absl::StrCat(
      layer.prefix.empty() ? "the FFF layer" : Quoted(layer.prefix), ": ",
      detected.status().message()));
  for (const Convention* one : ConventionsThatFit(layer)) {
    if (one->served()) return one;
  }
  return nullptr;
}

DraftLayer DraftFff(const TensorShapes& layer, const Convention& convention,
                    std::vector<std::string>& remarks) {
  DraftLayer draft = {layer.prefix, "fff", ""};
  absl::StrAppend(&draft.more, ", \"convention\": ", Quoted(convention.name));
  if (!convention.activation.has_value()) {
    absl::StrAppend(&draft.more, ", \"activation\": \"...\"");
    remarks.push_back(absl::StrCat("put the activation of ",
                                   Quoted(convention.name), " for \"...\""));
  } else if (*convention.activation != graph::Activation::kIdentity) {
    absl::StrAppend(&draft.more, ", \"activation\": ",
                    Quoted(graph::Name(*convention.activation)));
  }
  if (!convention.without_bias.empty() && layer.Has("b2s")) {
    absl::StrAppend(&draft.more, ", \"output_bias\": true");
    remarks.push_back(absl::StrCat("the eval of ",
                                   Quoted(convention.without_bias),
                                   " adds no output bias; say \"output_bias\": "
                                   "false for it"));
  }
  return draft;
}

bool IsOf(const Layout& layout, absl::string_view name) {
  return std::any_of(
      layout.tensors.begin(), layout.tensors.end(),
      [&](const LayoutTensor& tensor) { return tensor.name == name; });
}

// What a module of that weight is; "" for none of these.
std::string TypeOf(const TensorShapes& tensors, const std::string& prefix,
                   size_t rank) {
  if (rank == 4) return "conv2d";
  if (rank == 2) return "linear";
  if (rank != 1) return "";
  if (tensors.Has(absl::StrCat(prefix, "running_mean"))) return "batch_norm";
  return tensors.Has(absl::StrCat(prefix, "bias")) ? "layer_norm" : "rms_norm";
}

class Drafter {
 public:
  explicit Drafter(const TensorShapes& tensors) : tensors_(tensors) {}

  DraftConfig Run() {
    for (const std::string& prefix : LayerPrefixes(tensors_)) AddFff(prefix);
    for (const auto& [name, shape] : tensors_.shapes) AddModule(name, shape);
    std::sort(layers_.begin(), layers_.end(),
              [](const DraftLayer& a, const DraftLayer& b) {
                return NaturallyBefore(a.prefix, b.prefix);
              });
    AddRemarks();
    std::vector<std::string> lines;
    for (const DraftLayer& layer : layers_) {
      lines.push_back(absl::StrCat(
          "    {\"type\": ", Quoted(layer.type), layer.more,
          layer.prefix.empty()
              ? ""
              : absl::StrCat(", \"prefix\": ", Quoted(layer.prefix)),
          "}"));
    }
    draft_.json = absl::StrCat("{\n  \"layers\": [\n",
                               absl::StrJoin(lines, ",\n"), "\n  ]\n}\n");
    return std::move(draft_);
  }

 private:
  void AddFff(const std::string& prefix) {
    const TensorShapes layer =
        prefix.empty() ? tensors_ : UnderPrefix(tensors_, prefix);
    const Convention* convention = ChooseConvention(layer, draft_.remarks);
    if (convention == nullptr) return;
    layers_.push_back(DraftFff(layer, *convention, draft_.remarks));
    for (const auto& [name, shape] : layer.shapes) {
      // Bare, the tensors of other modules stand beside it.
      if (!prefix.empty() || name.find('.') == std::string::npos ||
          IsOf(*convention->layout, name)) {
        placed_.insert(layer.FullName(name));
      }
    }
  }

  void AddModule(const std::string& name, const tensor::Shape& shape) {
    absl::string_view prefix = name;
    if (placed_.count(name) > 0 || !absl::ConsumeSuffix(&prefix, "weight")) {
      return;
    }
    const std::string type =
        TypeOf(tensors_, std::string(prefix), shape.size());
    if (type.empty()) return;
    layers_.push_back({std::string(prefix), type, ""});
    for (const char* part : {"weight", "bias", "running_mean", "running_var",
                             "num_batches_tracked"}) {
      placed_.insert(absl::StrCat(prefix, part));
    }
  }

  void AddRemarks() {
    std::vector<std::string> left;
    for (const auto& [name, shape] : tensors_.shapes) {
      if (placed_.count(name) == 0 && !IsCounter(name, shape)) {
        left.push_back(name);
      }
    }
    if (!left.empty()) {
      draft_.remarks.push_back(
          absl::StrCat("in no layer of the draft: ", QuotedNames(left)));
    }
    if (layers_.size() > 1) {
      draft_.remarks.push_back(
          "no file tells the order of layers, what stands between them "
          "(activations, flatten, residual sums), strides or epsilons; the "
          "exporter of fff_client writes all that from the module");
    }
  }

  const TensorShapes& tensors_;
  std::vector<DraftLayer> layers_;
  std::set<std::string> placed_;
  DraftConfig draft_;
};

}  // namespace

DraftConfig DraftOf(const TensorShapes& tensors) {
  return Drafter(tensors).Run();
}

}  // namespace fff::importer
