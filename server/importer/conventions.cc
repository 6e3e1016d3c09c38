#include "server/importer/conventions.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/importer/fff_tensors.h"

namespace fff::importer {
namespace {

using graph::Activation;
using graph::Tie;

constexpr int kAny = LayoutTensor::kAny;

constexpr LayoutTensor kLeafTensors[] = {{"node_weights", kAny},
                                         {"node_biases"},
                                         {"w1s", 3},
                                         {"b1s"},
                                         {"w2s"},
                                         {"b2s"}};
constexpr LayoutTensor kMasterTensors[] = {
    {"magic_w1", kAny}, {"magic_b1"}, {"magic_w2"}, {"magic_b2"}, {"k"}};
constexpr LayoutTensor kPairTensors[] = {{"linear_in.weight", kAny},
                                         {"linear_in.bias"},
                                         {"linear_out.weight", kAny}};
constexpr LayoutTensor kBmmTensors[] = {{"w1s", 2}, {"w2s", 2}};
constexpr LayoutTensor kSapTensors[] = {{"X", 2}, {"Y", 2}};

constexpr Layout LeafLayout() {
  Layout layout;
  layout.family = Family::kLeaf;
  layout.tensors = kLeafTensors;
  layout.foreign = "magic_w1";
  layout.read = ReadLeaf;
  return layout;
}

// kLeafTensors and these.
constexpr Layout MasterLayout() {
  Layout layout;
  layout.family = Family::kLeaf;
  layout.tensors = kMasterTensors;
  layout.adds_to_another = true;
  layout.read = ReadMasterLeaf;
  return layout;
}

// Two torch.nn.Linear: input rows (T*N, I), output columns (O, T*N).
constexpr Layout PairLayout() {
  Layout layout;
  layout.family = Family::kPath;
  layout.tensors = kPairTensors;
  layout.x = "linear_in.weight";
  layout.bias = "linear_in.bias";
  layout.y = "linear_out.weight";
  layout.y_columns = true;
  layout.read = ReadPath;
  return layout;
}

// Node rows for input and output: X (T*N, I) and Y (T*N, O).
constexpr Layout RowsLayout(absl::Span<const LayoutTensor> tensors) {
  Layout layout;
  layout.family = Family::kPath;
  layout.tensors = tensors;
  layout.all_marks = true;
  layout.x = tensors[0].name;
  layout.y = tensors[1].name;
  layout.read = ReadPath;
  return layout;
}

// w1s of rank 2 beside node_weights is a damaged leaf layer.
constexpr Layout BmmLayout() {
  Layout layout = RowsLayout(kBmmTensors);
  layout.foreign = "node_weights";
  return layout;
}

constexpr Layout kLeaf = LeafLayout();
constexpr Layout kMaster = MasterLayout();
constexpr Layout kPair = PairLayout();
constexpr Layout kBmm = BmmLayout();
constexpr Layout kSap = RowsLayout(kSapTensors);

constexpr Convention kConventions[] = {
    // pbelcak/fastfeedforward 0.1.0 and 0.2.0: leaves add b2s.
    {"fastfeedforward", &kLeaf, Tie::kRight, Activation::kRelu, true, true},
    // Release 0.2.1 of the same: eval_forward does not add b2s. Same tensors,
    // so that it can only be asked for.
    {"fastfeedforward-0.2.1", &kLeaf, Tie::kRight, Activation::kRelu, false,
     false},
    // AndreasCharalamp, arXiv 2405.16836.
    {"master-leaf", &kMaster, Tie::kRight, Activation::kRelu, true, true},
    // pbelcak/UltraFastBERT training/cramming/architectures/fff.py.
    {"ultrafastbert", &kPair, Tie::kLeft, Activation::kGelu, false, true},
    // pbelcak/UltraFastBERT benchmark_pytorch/fff/fff_bmm.py.
    {"ultrafastbert-bmm", &kBmm, Tie::kRight, Activation::kGelu, false, true},
    // sap-ient-ai/FFF fff.py.
    {"sap-fff", &kSap, Tie::kLeft, Activation::kIdentity, false, true},
};

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

}  // namespace fff::importer
