#include "server/model/convention.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace fff::model {
namespace {

using engine::Activation;
using engine::Tie;

constexpr Convention kConventions[] = {
    // pbelcak/fastfeedforward 0.1.0 and 0.2.0: leaves add b2s.
    {"fastfeedforward", Family::kLeaf, TensorLayout::kLeaf, Tie::kRight,
     Activation::kRelu, true, true, "", "", ""},
    // Release 0.2.1 of the same: eval_forward does not add b2s. Same tensors,
    // so that it can only be asked for.
    {"fastfeedforward-0.2.1", Family::kLeaf, TensorLayout::kLeaf, Tie::kRight,
     Activation::kRelu, false, false, "", "", ""},
    // AndreasCharalamp, arXiv 2405.16836.
    {"master-leaf", Family::kLeaf, TensorLayout::kMasterLeaf, Tie::kRight,
     Activation::kRelu, true, true, "", "", ""},
    // pbelcak/UltraFastBERT training/cramming/architectures/fff.py.
    {"ultrafastbert", Family::kPath, TensorLayout::kLinearPair, Tie::kLeft,
     Activation::kGelu, false, true, "linear_in.weight", "linear_in.bias",
     "linear_out.weight"},
    // pbelcak/UltraFastBERT benchmark_pytorch/fff/fff_bmm.py.
    {"ultrafastbert-bmm", Family::kPath, TensorLayout::kNodeRows, Tie::kRight,
     Activation::kGelu, false, true, "w1s", "", "w2s"},
    // sap-ient-ai/FFF fff.py.
    {"sap-fff", Family::kPath, TensorLayout::kNodeRows, Tie::kLeft,
     Activation::kIdentity, false, true, "X", "", "Y"},
};

// Visit counters of fastfeedforward and the load balancer's frequencies.
constexpr absl::string_view kIgnored[] = {"depth", "node_usage", "leaf_usage",
                                          "f"};

}  // namespace

absl::Span<const Convention> Conventions() { return kConventions; }

const Convention* FindConvention(absl::string_view name) {
  for (const Convention& convention : kConventions) {
    if (convention.name == name) return &convention;
  }
  return nullptr;
}

std::string ConventionNames() {
  return absl::StrJoin(kConventions, ", ",
                       [](std::string* out, const Convention& convention) {
                         absl::StrAppend(out, convention.name);
                       });
}

bool IsIgnoredTensor(absl::string_view name_without_prefix) {
  return std::find(std::begin(kIgnored), std::end(kIgnored),
                   name_without_prefix) != std::end(kIgnored);
}

absl::string_view Name(Family family) {
  return family == Family::kLeaf ? "leaf" : "path";
}

}  // namespace fff::model
