#include "server/importer/layouts/layouts.h"

#include "server/importer/fff_tensors.h"
#include "server/importer/layouts/layout_checks.h"
#include "server/importer/layouts/leaf_readers.h"
#include "server/importer/layouts/path_readers.h"

namespace fff::importer {
namespace {

using Read = decltype(Layout::read);
using Check = decltype(Layout::check);
using Tensors = absl::Span<const LayoutTensor>;

constexpr int kAny = LayoutTensor::kAny;

constexpr LayoutTensor kLeafTensors[] = {{"node_weights", kAny},
                                         {"node_biases"},
                                         {"w1s", 3},
                                         {"b1s"},
                                         {"w2s"},
                                         {"b2s"}};
constexpr LayoutTensor kMemoryAccTensors[] = {{"node_weights"}, {"node_biases"},
                                              {"w1s", 3},       {"b1s", 2},
                                              {"w2s", 3},       {"b2s", 2}};
constexpr LayoutTensor kMasterTensors[] = {{"node_weights"},
                                           {"node_biases"},
                                           {"w1s"},
                                           {"b1s"},
                                           {"w2s"},
                                           {"b2s"},
                                           {"magic_w1", kAny},
                                           {"magic_b1"},
                                           {"magic_w2"},
                                           {"magic_b2"},
                                           {"k"}};
constexpr LayoutTensor kLinearLeafTensors[] = {
    {"node_weights"}, {"node_biases"},      {"leaf_weights1", 3},
    {"leaf_biases1"}, {"leaf_weights2", 3}, {"leaf_biases2"}};
constexpr LayoutTensor kHyperzensLinearTensors[] = {{"router_weights", kAny},
                                                    {"router_biases"},
                                                    {"leaf_weights", kAny},
                                                    {"leaf_biases"},
                                                    {"temperature"}};
constexpr LayoutTensor kFastffTensors[] = {{"nodes.weight", 2},
                                           {"nodes.bias"},
                                           {"leaves.weight", 2},
                                           {"leaves.bias"},
                                           {"leaves_out.0.weight"}};
constexpr LayoutTensor kFastffGateTensors[] = {
    {"gate.nodes", 2}, {"gate.t"}, {"experts.w1", 3}, {"experts.w2", 3}};
constexpr LayoutTensor kMlpUtilsTensors[] = {
    {"routers.0.weight", 2},       {"experts.0.net.0.weight", 2},
    {"experts.0.net.3.weight", 2}, {"project_in.weight"},
    {"project_in.bias"},           {"project_out.weight"},
    {"project_out.bias"}};

constexpr LayoutTensor kFffDistillTensors[] = {{"route_weight", 3},
                                               {"route_bias"},
                                               {"leaf_weight", 3},
                                               {"leaf_bias"},
                                               {"leaf_output", 3},
                                               {"route_output"},
                                               {"route_result_weight"},
                                               {"route_result_bias"},
                                               {"route_result_output"},
                                               {"shared_weight"},
                                               {"shared_bias"},
                                               {"shared_output"},
                                               {"bias"}};

constexpr LayoutTensor kPairTensors[] = {{"linear_in.weight", kAny},
                                         {"linear_in.bias"},
                                         {"linear_out.weight", kAny}};
constexpr LayoutTensor kNoBiasPairTensors[] = {{"linear_in.weight", 2},
                                               {"linear_out.weight", 2}};
constexpr LayoutTensor kPreluPairTensors[] = {{"linear_in.weight", 2},
                                              {"linear_in.bias", 1},
                                              {"linear_out.weight", 2},
                                              {"activation.weight", 1}};
constexpr LayoutTensor kPairAndMlpTensors[] = {{"linear_in.weight", 2},
                                               {"linear_in.bias", 1},
                                               {"linear_out.weight", 2},
                                               {"dense_in.weight", 2},
                                               {"dense_out.weight", 2}};
constexpr LayoutTensor kCudaTensors[] = {
    {"linear_in_weight", 2}, {"linear_out_weight", 2}, {"linear_in_bias"}};
constexpr LayoutTensor kRowsTensors[] = {{"w1s", 2}, {"w2s", 2}};
constexpr LayoutTensor kXyTensors[] = {{"X", 2}, {"Y", 2}};
constexpr LayoutTensor kBasisTensors[] = {{"basisX", 2}, {"basisY", 2}};
constexpr LayoutTensor kLevelRowsTensors[] = {{"X.weight", 2}, {"Y", 2}};
constexpr LayoutTensor kPathSelectorTensors[] = {{"PathSelector.weight", 2},
                                                 {"Y", 2}};
constexpr LayoutTensor kBojanFlatTensors[] = {{"net.0.PathSelector.weight", 2},
                                              {"net.0.Y", 2},
                                              {"net.3.PathSelector.weight", 2},
                                              {"net.3.Y", 2}};

constexpr LayoutTensor kHypercubeTensors[] = {{"X", 2}, {"Y", 3}};
constexpr LayoutTensor kJgcbTensors[] = {{"in_weight", 2},
                                         {"in_bias"},
                                         {"out_weight", 2},
                                         {"load_balancing_bias", kAny}};
constexpr LayoutTensor kChimeraTensors[] = {
    {"w_in", kAny}, {"w_out", kAny}, {"level", kAny}};
constexpr LayoutTensor kPathWeightedTensors[] = {
    {"w1s", 2}, {"b1s", 1}, {"w2s", 3}, {"b2s", 2}};
constexpr LayoutTensor kMlpUtilsGluTensors[] = {
    {"routers.0.weight", 2},
    {"experts.0.net.0.proj.weight", 2},
    {"experts.0.net.2.weight", 2},
    {"project_in.weight"},
    {"project_out.weight"}};
constexpr LayoutTensor kMlpUtilsMaskedTensors[] = {
    {"routers.0.weight", 2},        {"experts.0.net.0.proj.weight", 2},
    {"experts.0.net.0.mask", kAny}, {"experts.0.net.2.weight", 2},
    {"project_in.weight"},          {"project_out.weight"}};
constexpr LayoutTensor kMlpUtilsNormTensors[] = {
    {"routers.0.weight", 2},         {"experts.0.pre_norm.weight", kAny},
    {"experts.0.net.0.weight"},      {"experts.0.net.3.weight"},
    {"experts.0.net.0.proj.weight"}, {"experts.0.net.0.mask"},
    {"experts.0.net.2.weight"},      {"project_in.weight"},
    {"project_out.weight"}};
constexpr LayoutTensor kHyperzensGluTensors[] = {{"fff.router_weights", 2},
                                                 {"fff.w_gate_leaf", 3},
                                                 {"fff.w_up_leaf", 3},
                                                 {"fff.w_down_leaf", 3},
                                                 {"output_scale"}};
constexpr LayoutTensor kHyperzensForestTensors[] = {
    {"router_weights", 3}, {"router_biases"}, {"gate_proj", 4},
    {"up_proj", 4},        {"down_proj", 4},  {"temperature"}};
constexpr LayoutTensor kBitNetTensors[] = {
    {"router_weight", 2}, {"router_bias"}, {"leaf_weight", 3}, {"leaf_bias"}};
constexpr LayoutTensor kBitNetProductTensors[] = {
    {"router_u", 2}, {"router_v", 2}, {"leaf_weight", 3}, {"leaf_bias"}};
constexpr LayoutTensor kFastffTopKTensors[] = {
    {"gate.0.weight", 2}, {"experts.0.0.weight", 2}, {"experts.0.2.weight", 2}};
constexpr LayoutTensor kFlaxTensors[] = {
    {"kernel_1", 2}, {"kernel_2", 2}, {"kernel_node", 2}};
constexpr LayoutTensor kNodeMlpTensors[] = {{"tree.0.linear1.weight", 2},
                                            {"tree.0.linear2.weight", 2}};
constexpr LayoutTensor kKyegomezTensors[] = {{"weights_in", kAny},
                                             {"weights_out", kAny}};

constexpr Layout Leaf(Tensors tensors, Check check, Read read) {
  Layout layout;
  layout.family = Family::kLeaf;
  layout.tensors = tensors;
  layout.check = check;
  layout.read = read;
  return layout;
}

// What fits is asked of any of its marks, so that a damaged file is named for
// what is missing.
constexpr Layout AnyMark(Layout layout) {
  layout.all_marks = false;
  return layout;
}

constexpr Layout Foreign(Layout layout, absl::string_view tensor) {
  layout.foreign = tensor;
  return layout;
}

constexpr Layout TakesArguments(Layout layout) {
  layout.takes_arguments = true;
  return layout;
}

constexpr Layout ManyTrees(Layout layout) {
  layout.many_trees = true;
  return layout;
}

// Node rows for input and output: the first two tensors are X (T*N, I) and Y
// (T*N, O).
constexpr Layout Rows(Tensors tensors, Check check = CheckPath,
                      Read read = ReadPath) {
  Layout layout;
  layout.family = Family::kPath;
  layout.tensors = tensors;
  layout.x = tensors[0].name;
  layout.y = tensors[1].name;
  layout.check = check;
  layout.read = read;
  return layout;
}

constexpr Layout CudaRows() {
  Layout layout = Rows(kCudaTensors);
  layout.bias = "linear_in_bias";
  return layout;
}

// Two torch.nn.Linear: input rows (T*N, I), output columns (O, T*N).
constexpr Layout Pair(Tensors tensors, absl::string_view bias, Read read) {
  Layout layout;
  layout.family = Family::kPath;
  layout.tensors = tensors;
  layout.x = "linear_in.weight";
  layout.bias = bias;
  layout.y = "linear_out.weight";
  layout.y_columns = true;
  layout.check = CheckPath;
  layout.read = read;
  return layout;
}

// Rows of neurons of which every one answers: no tree.
constexpr Layout DenseRows(Tensors tensors, Read read) {
  Layout layout = Rows(tensors, CheckDenseRows, read);
  layout.family = Family::kNone;
  return layout;
}

constexpr Layout NotServed(Tensors tensors, Check check = nullptr) {
  Layout layout;
  layout.family = Family::kNone;
  layout.tensors = tensors;
  layout.check = check;
  return layout;
}

constexpr char kInBias[] = "linear_in.bias";

}  // namespace

constexpr Layout kFastFeedforwardLayout =
    AnyMark(Leaf(kLeafTensors, CheckLeaf, ReadLeaf));
constexpr Layout kMemoryAccLayout =
    Foreign(Leaf(kMemoryAccTensors, CheckLeaf, ReadLeaf), "depth");
constexpr Layout kMasterLeafLayout =
    Leaf(kMasterTensors, CheckLeaf, ReadMasterLeaf);
constexpr Layout kLinearLeafLayout =
    Leaf(kLinearLeafTensors, nullptr, ReadLinearLeaf);
constexpr Layout kHyperzensLinearLayout =
    ManyTrees(Leaf(kHyperzensLinearTensors, nullptr, ReadHyperzensLinear));
constexpr Layout kFastffLayout = Leaf(kFastffTensors, nullptr, ReadFastff);
constexpr Layout kFastffGateLayout =
    Leaf(kFastffGateTensors, nullptr, ReadFastffGate);
constexpr Layout kMlpUtilsLayout =
    Leaf(kMlpUtilsTensors, nullptr, ReadMlpUtils);
constexpr Layout kFffDistillLayout =
    TakesArguments(Leaf(kFffDistillTensors, nullptr, ReadFffDistill));
constexpr Layout kPairLayout =
    ManyTrees(AnyMark(Pair(kPairTensors, kInBias, ReadPath)));
constexpr Layout kNoBiasPairLayout =
    Foreign(Pair(kNoBiasPairTensors, "", ReadPath), kInBias);
constexpr Layout kPreluPairLayout =
    ManyTrees(Pair(kPreluPairTensors, kInBias, ReadPreluPair));
constexpr Layout kPairAndMlpLayout =
    ManyTrees(Pair(kPairAndMlpTensors, kInBias, ReadPairAndMlp));
constexpr Layout kCudaLayout = CudaRows();
constexpr Layout kRowsLayout = Rows(kRowsTensors);
constexpr Layout kStandardisedRowsLayout =
    Rows(kRowsTensors, CheckPath, ReadStandardisedRows);
constexpr Layout kFlatRowsLayout =
    Rows(kRowsTensors, CheckFlatRows, ReadFlatRows);
constexpr Layout kXyLayout = Rows(kXyTensors);
constexpr Layout kLevelRowsLayout =
    Rows(kLevelRowsTensors, CheckLevelRows, ReadLevelRows);
constexpr Layout kPathSelectorLayout =
    Rows(kPathSelectorTensors, CheckLevelRows, ReadLevelRows);
constexpr Layout kBojanFlatLayout =
    Rows(kBojanFlatTensors, nullptr, ReadBojanFlat);
constexpr Layout kDenseXyLayout = DenseRows(kXyTensors, ReadDenseRows);
constexpr Layout kDenseBasisLayout = DenseRows(kBasisTensors, ReadDenseRows);

constexpr Layout kFanoutLayout = AnyMark(NotServed(kPairTensors, CheckFanout));
constexpr Layout kTopKXyLayout = DenseRows(kXyTensors, nullptr);
constexpr Layout kTopKBasisLayout = DenseRows(kBasisTensors, nullptr);
constexpr Layout kHypercubeLayout = NotServed(kHypercubeTensors);
constexpr Layout kJgcbLayout = NotServed(kJgcbTensors);
constexpr Layout kChimeraLayout = NotServed(kChimeraTensors);
constexpr Layout kPathWeightedLayout = NotServed(kPathWeightedTensors);
constexpr Layout kMlpUtilsGluLayout = NotServed(kMlpUtilsGluTensors);
constexpr Layout kMlpUtilsMaskedLayout = NotServed(kMlpUtilsMaskedTensors);
constexpr Layout kMlpUtilsNormLayout = NotServed(kMlpUtilsNormTensors);
constexpr Layout kHyperzensGluLayout = NotServed(kHyperzensGluTensors);
constexpr Layout kHyperzensForestLayout = NotServed(kHyperzensForestTensors);
constexpr Layout kBitNetLayout = NotServed(kBitNetTensors);
constexpr Layout kBitNetProductLayout = NotServed(kBitNetProductTensors);
constexpr Layout kTransposedBitNetLayout =
    NotServed(kBitNetTensors, CheckSquareLeaves);
constexpr Layout kFastffTopKLayout = NotServed(kFastffTopKTensors);
constexpr Layout kFlaxLayout = NotServed(kFlaxTensors);
constexpr Layout kNodeMlpLayout = NotServed(kNodeMlpTensors);
constexpr Layout kKyegomezLayout = NotServed(kKyegomezTensors);

}  // namespace fff::importer
